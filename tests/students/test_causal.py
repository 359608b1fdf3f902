"""A decoder from scratch and from a folder, and the chat it sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError, UsageError
from stillhouse.recipe import Student
from stillhouse.students.causal import CausalStudent
from tests.students.tiny import tiny_spec, write_tokenizer

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "tokenizer")


def example(answer: str, **changes: Any) -> Example:
    return Example(id="row-1", messages=HELLO, answer=answer).model_copy(update=changes)


@pytest.mark.parametrize(
    "config",
    [
        tiny_spec(Path()).config,
        {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
        {"model_type": "qwen2", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    ],
)
def test_an_architecture_of_transformers_is_built_saved_and_loaded(tmp_path: Path, tokenizer: Path, config: Any) -> None:
    spec = Student(kind="causal", config=config, tokenizer=str(tokenizer))
    student = CausalStudent.build(spec, dropout=0.1)
    student.network.eval()
    student.save(tmp_path / "saved")
    loaded = CausalStudent.load(tmp_path / "saved")
    assert loaded.answer([HELLO], max_tokens=5) == student.answer([HELLO], max_tokens=5)
    assert (loaded.parameters, loaded.tokenizer_hash()) == (student.parameters, student.tokenizer_hash())
    assert {"model.safetensors", "chat_template.jinja"} <= {path.name for path in (tmp_path / "saved").iterdir()}


def test_the_seed_decides_the_weights(tokenizer: Path) -> None:
    one, same, other = (CausalStudent.build(tiny_spec(tokenizer), seed=seed).network.state_dict() for seed in (1, 1, 2))
    name = "model.layers.0.mlp.up_proj.weight"
    assert one[name].equal(same[name])
    assert not one[name].equal(other[name])


def test_tied_weights_count_once(tokenizer: Path) -> None:
    tied, untied = (CausalStudent.build(tiny_spec(tokenizer, tie_word_embeddings=tie)) for tie in (True, False))
    assert untied.parameters - tied.parameters == untied.vocabulary_size * 32


# -- chats and token ids -----------------------------------------------------------------------------------------------------


def test_training_sees_the_prompt_that_serving_sees(tokenizer: Path) -> None:
    student = CausalStudent.build(tiny_spec(tokenizer))
    [row] = student.encode([example("yes")], max_tokens=100)
    assert list(row.tokens[: row.answer_start]) == student.prompt_ids(HELLO)
    assert student.tokenizer.decode(row.tokens) == "<u>hello\n<a>yes<eos>"
    assert student.decode(row.tokens[row.answer_start :]) == "yes"


def test_text_parts_are_text(tokenizer: Path) -> None:
    student = CausalStudent.build(tiny_spec(tokenizer))
    parts = [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]
    assert student.prompt_ids(parts) == student.prompt_ids(HELLO)
    with pytest.raises(UsageError, match="'image_url'"):
        student.prompt_ids([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "..."}}]}])


def test_plain_text_is_supervised_from_its_first_token(tokenizer: Path) -> None:
    student = CausalStudent.build(tiny_spec(tokenizer))
    [row] = student.encode([example("yes", messages=[])], max_tokens=100)
    assert row.answer_start == 1
    assert student.tokenizer.decode(row.tokens) == "<bos>yes<eos>"


def test_rows_that_cannot_be_learnt_are_named(tokenizer: Path) -> None:
    student = CausalStudent.build(tiny_spec(tokenizer))
    with pytest.raises(TrainingError, match="row-1"):
        student.encode([example("")], max_tokens=100)
    assert student.encode([example("yes")], max_tokens=16)
    with pytest.raises(RecipeError, match=r"row-1.*training.max_tokens = 15"):
        student.encode([example("yes")], max_tokens=15)


@pytest.mark.parametrize("template", [None, "{{ raise_exception('no system message, please') }}", "{{ nothing.here }}"])
def test_a_template_that_is_missing_or_fails_says_so(tmp_path: Path, template: str | None) -> None:
    student = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path, template=template)))
    with pytest.raises(UsageError, match="chat template"):
        student.prompt_ids(HELLO)


def test_a_template_that_says_nothing_is_refused(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    (folder / "chat_template.jinja").write_text("{% if messages[0].content == 'hello' %}x{% endif %}")
    student = CausalStudent.build(tiny_spec(folder))
    silent = example("yes", messages=[{"role": "user", "content": "else"}])
    with pytest.raises(UsageError, match="renders this chat to no token"):
        student.encode([example("yes"), silent], max_tokens=100)


def test_tokenizers_are_told_apart_by_what_they_do(tmp_path: Path, tokenizer: Path) -> None:
    first, same, other = (
        CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / name, letters=letters)))
        for name, letters in (("a", "abc"), ("b", "abc"), ("c", "acb"))
    )
    first.tokenizer("pad me", padding="max_length", max_length=20, truncation=True)
    assert first.tokenizer_hash() == same.tokenizer_hash() != other.tokenizer_hash()


# -- refusals ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "model_type"),
        ({"model_type": "no-such-network"}, "no-such-network"),
        ({"model_type": "llama", "hiden_size": 32}, "hiden_size"),
        ({"model_type": "llama", "hidden_size": 32, "num_attention_heads": 3}, "llama"),
        ({**tiny_spec(Path()).config, "vocab_size": 5}, "104 tokens"),
    ],
)
def test_a_shape_that_cannot_be_built_is_a_mistake_in_the_recipe(tokenizer: Path, config: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        CausalStudent.build(Student(kind="causal", config=config, tokenizer=str(tokenizer)))


def test_a_student_from_scratch_needs_a_tokenizer() -> None:
    with pytest.raises(RecipeError, match=r"\[student\] tokenizer"):
        CausalStudent.build(Student(kind="causal", config={"model_type": "llama"}))


def test_a_base_has_its_shape_already(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(RecipeError, match="Drop one of the two"):
        CausalStudent.build(tiny_spec(tokenizer), tmp_path)


@pytest.fixture
def saved(tmp_path: Path, tokenizer: Path) -> Path:
    CausalStudent.build(tiny_spec(tokenizer)).save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "scaler.pkl", "modeling_mine.py", "deep/er.PTH"])
def test_files_that_could_run_code_are_refused(saved: Path, name: str) -> None:
    (saved / name).parent.mkdir(exist_ok=True)
    (saved / name).write_bytes(b"cos\nsystem\n(S'echo pwned'\ntR.")
    with pytest.raises(UsageError, match="refused"):
        CausalStudent.load(saved)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_refused(saved: Path, name: str) -> None:
    content = json.loads((saved / name).read_text())
    content["nested"] = [{"auto_map": {"AutoModelForCausalLM": "modeling.Mine"}}]
    (saved / name).write_text(json.dumps(content).replace("auto_map", "auto\\u005fmap"))
    with pytest.raises(UsageError, match="auto_map"):
        CausalStudent.load(saved)


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path, saved: Path) -> None:
    with pytest.raises(UsageError, match="no model folder"):
        CausalStudent.load(tmp_path / "nowhere")
    (saved / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="cannot be loaded"):
        CausalStudent.load(saved)
    (saved / "model.safetensors").unlink()
    with pytest.raises(UsageError):
        CausalStudent.load(saved)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_a_configuration_that_is_no_json_is_refused(saved: Path, name: str) -> None:
    (saved / name).write_bytes(b"{\xff")
    with pytest.raises(UsageError, match=name):
        CausalStudent.load(saved)


def test_missing_weights_are_not_made_up(tmp_path: Path, saved: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(saved / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match="1 weights are missing, model.layers.1.mlp.up_proj.weight"):
        CausalStudent.load(saved)
