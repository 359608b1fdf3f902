"""Half precision, fewer activations kept, an average of the weights: what they change, what they must not, and exact resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.errors import RecipeError
from stillhouse.method import WhiteBox
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded
from stillhouse.training import precision
from stillhouse.training.averaging import RunningAverage
from stillhouse.training.precision import autocast_of, keep_fewer_activations
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.students.tiny_encoders import BERT, build, kinds_of_things, write_wordpieces
from tests.training.runs import recipe, run, weights_hash, write_sums

CPU = torch.device("cpu")


@pytest.fixture
def imitated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor without bfloat16."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with it; torch imitates what this machine has not, so the arithmetic can be tested anywhere."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)


def test_products_are_in_half_precision_and_weights_are_not(tmp_path: Path, native: None) -> None:
    student = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path)), seed=1)
    seen: list[torch.dtype] = []
    student.network.base_model.layers[0].mlp.down_proj.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    batch = student.collate(rows())
    with autocast_of("bfloat16", CPU)():
        output = student.output(batch)
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in student.network.parameters()} == {torch.float32}
    assert output.head.weight_VH.dtype == torch.float32


def rows() -> list[Encoded]:
    return [Encoded("a", (5, 6, 7), 1, 1.0)]


@pytest.mark.parametrize("taught", [False, True])
def test_half_precision_learns_the_same_and_resumes_exactly(tmp_path: Path, native: None, taught: bool) -> None:
    write_sums(tmp_path / "data")
    options: dict[str, Any] = {"dropout": 0.0}
    folders: dict[str, Any] = {}
    if taught:
        options["method"] = WhiteBox(temperature=2.0)
        folders["teacher_folder"] = tmp_path / "teacher"
        CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer"), hidden_size=48), seed=7).save(tmp_path / "teacher")
    full = run(recipe(tmp_path, **options), tmp_path / "data", tmp_path / "full", **folders)
    plan = recipe(tmp_path, precision="bfloat16", **options)
    half = run(plan, tmp_path / "data", tmp_path / "half", **folders)
    for step, metrics in full.curve.items():
        assert half.curve[step]["train/loss"] == pytest.approx(metrics["train/loss"], rel=0.02)
    assert half.curve[1]["train/loss"] != full.curve[1]["train/loss"], "it was not in half precision"
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=7, **folders)
    second = run(plan, tmp_path / "data", tmp_path / "parts", **folders)
    assert {**first.curve, **second.curve} == half.curve
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "half")
    saved = CausalStudent.load(tmp_path / "half" / "student")
    assert saved.network.dtype == torch.float32


def test_a_processor_that_would_imitate_it_is_named_and_auto_passes_over_it(tmp_path: Path, imitated: None) -> None:
    write_sums(tmp_path / "data")
    with pytest.raises(RecipeError, match=r"no instructions for bfloat16.*precision = \"float32\", or \"auto\""):
        run(recipe(tmp_path, precision="bfloat16"), tmp_path / "data", tmp_path / "refused")
    assert not (tmp_path / "refused" / "checkpoints").exists()
    auto, full = (
        run(recipe(tmp_path, steps=2, precision=name), tmp_path / "data", tmp_path / name).curve for name in ("auto", "float32")
    )
    assert auto == full


def test_auto_takes_it_where_the_processor_has_it(tmp_path: Path, native: None) -> None:
    write_sums(tmp_path / "data")
    auto, half = (
        run(recipe(tmp_path, steps=2, precision=name), tmp_path / "data", tmp_path / name).curve for name in ("auto", "bfloat16")
    )
    assert auto == half


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_fewer_activations_give_the_same_curve(tmp_path: Path, dropout: float) -> None:
    """Dropout's masks are drawn again as they were."""
    write_sums(tmp_path / "data")
    plain, fewer = (
        run(recipe(tmp_path, steps=6, dropout=dropout, gradient_checkpointing=on), tmp_path / "data", tmp_path / str(on)).curve
        for on in (False, True)
    )
    for step, metrics in plain.items():
        assert fewer[step] == pytest.approx(metrics, rel=1e-5)


def test_an_encoders_layers_can_compute_again(tmp_path: Path) -> None:
    write_wordpieces(tmp_path)
    student = build(tmp_path, kinds_of_things(), **BERT)
    batch = student.collate(student.encode(kinds_of_things(), max_tokens=64))
    student.network.train()
    found = []
    for on in (False, True):
        if on:
            keep_fewer_activations(student.network)
        torch.autograd.backward(student.output(batch).scores_NV.logsumexp(dim=-1).sum())
        found.append({name: parameter.grad for name, parameter in student.network.named_parameters()})
        student.network.zero_grad(set_to_none=True)
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)


def test_fewer_activations_are_kept(tmp_path: Path) -> None:
    kept = []
    for on in (False, True):
        student = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path)), seed=1)
        if on:
            keep_fewer_activations(student.network)
        student.network.train()
        kept.append(_saved_bytes(student))
    assert kept[1] < kept[0] / 2


def _saved_bytes(student: CausalStudent) -> int:
    """What the forward pass keeps for the backward pass, weights apart."""
    weights = {parameter.data_ptr() for parameter in student.network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = student.output(student.collate(rows() * 8))
    assert output.hidden_NH.requires_grad
    return sum(kept.values())


def test_a_network_that_cannot_compute_again_is_refused() -> None:
    with pytest.raises(RecipeError, match="gradient_checkpointing = false"):
        keep_fewer_activations(torch.nn.Linear(1, 1))


# -- the running average -----------------------------------------------------------------------------------------------------


def test_the_average_follows_the_weights_and_forgets_the_start() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    average = RunningAverage([weight], decay=0.9)
    expected = 0.0
    for step in range(1, 200):
        with torch.no_grad():
            weight.fill_(float(step))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        average.update(step)
    with average.in_place():
        assert weight.item() == pytest.approx(expected, rel=1e-5)
    assert weight.item() == 199.0
    average.put()
    assert weight.item() == pytest.approx(expected, rel=1e-5)


def test_the_average_is_what_is_watched_and_saved_and_resumes_exactly(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, average=0.9)
    last = run(recipe(tmp_path), tmp_path / "data", tmp_path / "last")
    whole = run(plan, tmp_path / "data", tmp_path / "whole")
    assert [whole.curve[step]["train/loss"] for step in whole.curve] == [last.curve[step]["train/loss"] for step in last.curve]
    assert whole.curve[12]["eval/loss"] != last.curve[12]["eval/loss"]
    assert weights_hash(tmp_path / "whole") != weights_hash(tmp_path / "last")
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=7)
    second = run(plan, tmp_path / "data", tmp_path / "parts")
    assert {**first.curve, **second.curve} == whole.curve
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")


def test_attention_is_written_out_while_a_student_learns_in_half_precision_and_fused_again_after(
    tmp_path: Path, native: None
) -> None:
    network = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path)), seed=1).network
    for asked, inside in (("bfloat16", "eager"), ("float32", "sdpa")):
        with precision.attention_written_out(network, asked, CPU):  # type: ignore[arg-type]
            assert network.config._attn_implementation == inside
        assert network.config._attn_implementation == "sdpa"
