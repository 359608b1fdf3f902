"""Adapters: the frozen weights stay bit for bit, what is saved is plain and says the same, the head gets no gradient."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.errors import MissingExtraError, RecipeError
from stillhouse.losses.fused import weighted_sums
from stillhouse.recipe import Adapter, Student
from stillhouse.students import adapting
from stillhouse.students.adapting import adapt, is_adapted, merged_weights, parameter_count, save_network
from stillhouse.students.base import Trainable, refuse_unsafe_files
from stillhouse.students.causal import CausalStudent
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.seq2seq import Seq2SeqStudent
from tests.students.test_seq2seq import EXAMPLES
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.students.tiny_t5 import t5_spec

torch.set_num_threads(1)

GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}


def causal(root: Path, adapter: Adapter | None, **config: Any) -> CausalStudent:
    spec = tiny_spec(write_tokenizer(root / "tokenizer"))
    return CausalStudent.build(spec.model_copy(update={"adapter": adapter, "config": config or spec.config}))


def gpt2(root: Path, adapter: Adapter | None) -> CausalStudent:
    return causal(root, adapter, **GPT2)


def seq2seq(root: Path, adapter: Adapter | None) -> Seq2SeqStudent:
    spec = t5_spec(write_tokenizer(root / "tokenizer", template=None))
    return Seq2SeqStudent.build(spec.model_copy(update={"adapter": adapter}))


KINDS: dict[str, Callable[..., Any]] = {"causal": causal, "gpt2": gpt2, "seq2seq": seq2seq}
ADAPTER = Adapter(rank=2, alpha=8.0)


def step(student: Trainable, rate: float = 0.1) -> dict[str, torch.Tensor]:
    """One step of gradient descent on the examples; the gradients by name."""
    student.network.train()
    batch = student.collate(student.encode(EXAMPLES, max_tokens=200))
    output = student.output(batch)
    weighted_sums(output.hidden_NH, output.head, batch.targets_N, ce_N=batch.weights_N).total.backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad.clone() for name, p in student.network.named_parameters() if p.grad is not None}
    with torch.no_grad():
        for parameter in student.network.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad / parameter.grad.norm().clamp(min=1e-6)
                parameter.grad = None
    student.network.eval()
    return found


def scores(student: Trainable) -> torch.Tensor:
    student.network.eval()
    with torch.no_grad():
        return student.output(student.collate(student.encode(EXAMPLES, max_tokens=200))).scores_NV


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_changes_nothing_until_it_is_trained(tmp_path: Path, kind: str) -> None:
    plain, adapted = KINDS[kind](tmp_path, None), KINDS[kind](tmp_path, ADAPTER)
    torch.testing.assert_close(scores(adapted), scores(plain), rtol=0, atol=0)
    assert is_adapted(adapted.network)
    assert not is_adapted(plain.network)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_learns_and_the_head_gets_no_gradient(tmp_path: Path, kind: str) -> None:
    student = KINDS[kind](tmp_path, ADAPTER)
    before = {name: tensor.clone() for name, tensor in student.network.state_dict().items()}
    gradients = [step(student) for _ in range(2)]
    assert all(".lora_" in name for found in gradients for name in found)
    after = student.network.state_dict()
    moved = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    assert moved == {name for name in after if ".lora_" in name}
    batch = student.collate(student.encode(EXAMPLES, max_tokens=200))
    head = student.output(batch).head
    assert not head.weight_VH.requires_grad
    assert head.weight_VH.grad is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_plain_and_says_the_same(tmp_path: Path, kind: str) -> None:
    student = KINDS[kind](tmp_path, ADAPTER)
    untrained = scores(student)
    for _ in range(3):
        step(student)
    adapted = scores(student)
    assert not torch.allclose(adapted, untrained, atol=1e-2)
    student.save(tmp_path / "saved")
    loaded = type(student).load(tmp_path / "saved")
    assert not is_adapted(loaded.network)
    assert loaded.parameters == student.parameters
    torch.testing.assert_close(scores(loaded), adapted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scores(student), adapted, rtol=0, atol=0)  # saving changed nothing
    refuse_unsafe_files(tmp_path / "saved")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own use of it
def test_the_adapter_that_lies_beside_is_pefts_own(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    student = seq2seq(tmp_path, ADAPTER)
    for _ in range(3):
        step(student)
    student.save(tmp_path / "saved")
    base = seq2seq(tmp_path, None)
    there = peft.PeftModel.from_pretrained(base.network, tmp_path / "saved" / "adapter")
    torch.testing.assert_close(scores(Seq2SeqStudent(there.get_base_model(), base.tokenizer)), scores(student))


def test_the_seed_decides_the_adapter_and_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    def first(seed: int) -> torch.Tensor:
        student = causal(tmp_path, None)
        adapt(student.network, ADAPTER, seed=seed)
        found: torch.Tensor = next(p for name, p in student.network.named_parameters() if ".lora_A." in name)
        return found.detach()

    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert first(1).equal(first(1))
    assert not first(1).equal(first(2))
    assert torch.get_rng_state().equal(state)


def test_targets_are_named_by_their_last_parts(tmp_path: Path) -> None:
    student = causal(tmp_path, Adapter(rank=2, targets=("q_proj", "mlp.up_proj")))
    names = {name.split(".lora_")[0] for name in student.network.state_dict() if ".lora_" in name}
    ends = ("self_attn.q_proj", "mlp.up_proj")
    assert names == {f"model.layers.{layer}.{end}" for layer in range(2) for end in ends}
    with pytest.raises(RecipeError, match=r"targets query: .* It has: down_proj, gate_proj, k_proj"):
        causal(tmp_path, Adapter(targets=("q_proj", "query")))


def test_modules_of_its_own_are_trained_whole(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20}
    network = BertForSequenceClassification(BertConfig(**sizes))
    adapt(network, ADAPTER, seed=0, whole=("classifier",))
    trained = {name for name, p in network.named_parameters() if p.requires_grad and ".lora_" not in name}
    assert trained == {"classifier.weight", "classifier.bias"}
    plain = BertForSequenceClassification(BertConfig(**sizes)).state_dict()
    assert {name: tensor.shape for name, tensor in merged_weights(network).items()} == {
        name: tensor.shape for name, tensor in plain.items()
    }
    save_network(network, tmp_path / "saved")
    assert (tmp_path / "saved" / "adapter" / "adapter_model.safetensors").is_file()


BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_encoders_head_is_trained_whole_and_all_of_it_is_saved_plain(tmp_path: Path, pooling: str) -> None:
    rows = [example.model_copy(update={"answer": f"label {i}"}) for i, example in enumerate(EXAMPLES)]
    config = {"model_type": "bert", "pooling": pooling, **BERT}
    tokenizer = str(write_tokenizer(tmp_path / "tokenizer", template=None))
    student = EncoderStudent.build(Student(kind="encoder", config=config, tokenizer=tokenizer, adapter=ADAPTER), examples=rows)
    student.network.eval()
    trained = {name for name, p in student.network.named_parameters() if p.requires_grad and ".lora_" not in name}
    assert trained
    assert all("classifier" in name or name.startswith("last.") for name in trained)
    with torch.no_grad():
        for parameter in student.network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    student.save(tmp_path / "saved")
    loaded = EncoderStudent.load(tmp_path / "saved")
    batch = student.collate(student.encode(rows, max_tokens=100))
    with torch.no_grad():
        torch.testing.assert_close(loaded.output(batch).scores_NV, student.output(batch).scores_NV, rtol=1e-4, atol=1e-4)
    assert loaded.parameters == student.parameters


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(adapting, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"An adapter needs 'peft'.*stillhouse\[train\]"):
        causal(tmp_path, ADAPTER)


def test_kernels_that_do_not_run_here_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(library: Any, layer: Any, bits: int) -> Any:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(adapting, "_in_bits", broken)
    monkeypatch.setattr(adapting, "_library", lambda name, *_: __import__("peft") if name == "peft" else object())
    with pytest.raises(RecipeError, match=r"bits = 4: bitsandbytes does not run .* \(no kernel image\)"):
        causal(tmp_path, Adapter(bits=4))


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", ["causal", "seq2seq"])
def test_weights_in_few_bits_are_learned_on_and_saved_plain(tmp_path: Path, kind: str, bits: Any) -> None:
    plain = KINDS[kind](tmp_path, None)
    student = KINDS[kind](tmp_path, Adapter(rank=2, alpha=8.0, bits=bits))
    kept = {name for name, p in student.network.named_parameters() if p.dtype in (torch.uint8, torch.int8)}
    assert len(kept) >= 8
    assert student.parameters == parameter_count(plain.network) == plain.parameters
    assert 0 < (scores(student) - scores(plain)).abs().mean() < 0.5 * scores(plain).abs().mean()
    for _ in range(3):
        found = step(student)
        assert found
        assert all(".lora_" in name for name in found)
    student.save(tmp_path / "saved")
    loaded = type(student).load(tmp_path / "saved")
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    error = (scores(loaded) - scores(student)).abs().mean() / scores(student).abs().mean()
    assert error < (1e-4 if bits == 4 else 0.05)  # 8 bits: activations are rounded too while it runs


def test_a_recipe_names_it() -> None:
    spec = Student.model_validate({"kind": "causal", "adapter": {"rank": 4, "bits": 4}})
    assert spec.adapter == Adapter(rank=4, bits=4)
