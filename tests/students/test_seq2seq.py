"""An encoder-decoder: its rows are the network's own scores, its answers those of plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, T5ForConditionalGeneration

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError, UsageError
from stillhouse.students.seq2seq import Seq2SeqStudent
from stillhouse.tensors import Wanted
from tests.students.tiny import TEMPLATE, write_tokenizer
from tests.students.tiny_t5 import BART, FAMILY, T5, build, shake, t5_spec

torch.set_num_threads(1)


def example(text: str, answer: str, **changes: Any) -> Example:
    messages = [{"role": "system", "content": "Add."}, {"role": "user", "content": text}]
    return Example(id=f"row-{text}", messages=messages, answer=answer).model_copy(update=changes)


EXAMPLES = [example("1+1", "2"), example("what is 3 + 4?", "it is 7"), example("5", "five", weight=0.5)]


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
def test_rows_are_the_networks_own_scores(tmp_path: Path, config: dict[str, Any]) -> None:
    """The whole path: shift, padding, the head and T5's 1/sqrt(d_model), against `labels` given to transformers."""
    student = build(tmp_path, config)
    shake(student)
    if config["model_type"] == "bart":
        student.network.final_logits_bias.normal_()
    rows = student.encode(EXAMPLES, max_tokens=100)
    batch = student.collate(rows)
    with torch.no_grad():
        output = student.output(batch)
        for i, row in enumerate(rows):
            own = student.network(input_ids=torch.tensor([row.tokens]), labels=torch.tensor([row.targets]))
            mine_NV = output.scores_NV[batch.owners_N == i]
            torch.testing.assert_close(mine_NV, own.logits[0], rtol=1e-4, atol=1e-4)
            loss = torch.nn.functional.cross_entropy(mine_NV, batch.targets_N[batch.owners_N == i])
            assert loss.item() == pytest.approx(own.loss.item(), rel=1e-4)


def test_t5_scales_where_its_embeddings_are_tied_and_t5_1_1_does_not(tmp_path: Path) -> None:
    scales = {name: build(tmp_path, config).head().scale for name, config in FAMILY.items()}
    assert scales == {"t5": 0.25, "t5-1.1": 1.0, "umt5": 0.25, "mt5": 1.0, "bart": 1.0}


def test_a_checkpoint_with_a_head_of_its_own_keeps_it(tmp_path: Path) -> None:
    """T5 1.1's files hold an output matrix that is not the embeddings."""
    student = build(tmp_path, FAMILY["t5-1.1"])
    student.network.lm_head.weight = torch.nn.Parameter(torch.randn_like(student.network.shared.weight))
    student.save(tmp_path / "saved")
    loaded = Seq2SeqStudent.load(tmp_path / "saved")
    assert loaded.head().weight_VH.equal(student.network.lm_head.weight)
    assert not loaded.head().weight_VH.equal(loaded.network.shared.weight)
    assert loaded.head().scale == 1.0


def test_padding_changes_no_row(tmp_path: Path) -> None:
    student = build(tmp_path)
    shake(student)
    long, short, _ = (student.encode([row], max_tokens=200)[0] for row in [example("x" * 40, "y" * 50), *EXAMPLES[:2]])
    alone, padded = student.collate([short]), student.collate([short, long])
    with torch.no_grad():
        one_NV, both_NV = student.output(alone).scores_NV, student.output(padded).scores_NV
    torch.testing.assert_close(both_NV[padded.owners_N == 0], one_NV, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY)
def test_saved_it_answers_the_same_here_and_in_plain_transformers(tmp_path: Path, config: dict[str, Any]) -> None:
    student = build(tmp_path, config)
    shake(student, 0.2)
    student.save(tmp_path / "saved")
    loaded = Seq2SeqStudent.load(tmp_path / "saved")
    chats = [row.messages for row in EXAMPLES]
    answers = student.answer(chats, max_tokens=8)
    assert loaded.answer(chats, max_tokens=8) == answers
    assert (loaded.parameters, loaded.tokenizer_hash(), loaded.head().scale) == (
        student.parameters,
        student.tokenizer_hash(),
        student.head().scale,
    )
    plain = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved")
    tokens = torch.tensor([student.prompt_ids(chats[0])])
    said = plain.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=8, do_sample=False)
    assert student.decode(said[0, 1:].tolist()) == answers[0]


def test_an_unknown_scaling_of_scores_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = build(tmp_path)
    shake(student)
    plain = T5ForConditionalGeneration.forward

    def doubled(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = plain(self, *args, **kwargs)
        output.logits = output.logits * 2
        return output

    monkeypatch.setattr(T5ForConditionalGeneration, "forward", doubled)
    with pytest.raises(UsageError, match="'t5' network are not its last states times its head"):
        Seq2SeqStudent(student.network, student.tokenizer)


# -- what it reads -----------------------------------------------------------------------------------------------------------


def test_without_a_template_it_reads_the_last_user_message(tmp_path: Path) -> None:
    student = build(tmp_path, prefix="sum: ")
    [row] = student.encode(EXAMPLES[:1], max_tokens=100)
    assert student.tokenizer.decode(row.tokens) == "sum: 1+1<eos>"
    assert list(row.tokens) == student.prompt_ids(EXAMPLES[0].messages)
    assert student.tokenizer.decode(row.targets) == "2<eos>"
    with pytest.raises(UsageError, match="last user message"):
        student.prompt_ids([{"role": "system", "content": "Add."}])


def test_with_a_template_it_reads_the_whole_chat(tmp_path: Path) -> None:
    student = build(tmp_path, template=TEMPLATE)
    assert student.tokenizer.decode(student.prompt_ids(EXAMPLES[0].messages)) == "<s>Add.\n<u>1+1\n<a><eos>"


def test_the_prefix_is_saved_and_may_stand_beside_a_base(tmp_path: Path) -> None:
    build(tmp_path, prefix="sum: ").save(tmp_path / "base")
    chat = EXAMPLES[0].messages
    loaded = Seq2SeqStudent.load(tmp_path / "base")
    assert loaded.tokenizer.decode(loaded.prompt_ids(chat)) == "sum: 1+1<eos>"
    spec = t5_spec(tmp_path / "base").model_copy(update={"config": {"prefix": "add: "}, "tokenizer": None})
    changed = Seq2SeqStudent.build(spec, tmp_path / "base")
    assert changed.tokenizer.decode(changed.prompt_ids(chat)) == "add: 1+1<eos>"
    with pytest.raises(RecipeError, match="prefix is a text, got 3"):
        Seq2SeqStudent.build(spec.model_copy(update={"config": {"prefix": 3}}), tmp_path / "base")


def test_inner_states_are_the_encoders(tmp_path: Path) -> None:
    student = build(tmp_path)
    batch = student.collate(student.encode(EXAMPLES, max_tokens=100))
    with torch.no_grad():
        states = student.output(batch, wanted=Wanted(hidden=True)).states
        own = student.network.encoder(**{name: batch.inputs[name] for name in ("input_ids", "attention_mask")})
    assert states is not None
    assert len(states.hidden) == 3
    torch.testing.assert_close(states.hidden[-1], own.last_hidden_state)


def test_dropout_is_the_recipes_and_not_t5s_own(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    for dropout in (0.0, 0.3):
        network = Seq2SeqStudent.build(t5_spec(tokenizer), dropout=dropout).network
        rates = {module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)}
        assert rates == {dropout}


# -- mistakes ----------------------------------------------------------------------------------------------------------------


def test_examples_that_cannot_be_learned_are_named(tmp_path: Path) -> None:
    student = build(tmp_path)
    with pytest.raises(TrainingError, match="row-1.* answer is empty"):
        student.encode([example("1", "")], max_tokens=100)
    with pytest.raises(RecipeError, match="row-12 has 7 tokens, more than training.max_tokens = 6"):
        student.encode([example("12", "abc")], max_tokens=6)
    student.encode([example("12", "abc")], max_tokens=7)
    with pytest.raises(RecipeError, match="71 tokens on one side, and this network has 64 positions"):
        build(tmp_path, BART).encode([example("1" * 70, "1")], max_tokens=500)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"d_model": 16}, 'model_type, e.g. "t5"'),
        ({**T5, "width": 3}, "width: no such option of 't5'"),
        ({"model_type": "llama"}, "'llama' is no network of kind 'seq2seq'"),
        ({**T5, "feed_forward_proj": "nothing-gelu"}, "does not shape a 't5'"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    spec = t5_spec(tokenizer).model_copy(update={"config": config})
    with pytest.raises(RecipeError, match=message):
        Seq2SeqStudent.build(spec)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model folder"):
        Seq2SeqStudent.load(tmp_path / "nothing")
