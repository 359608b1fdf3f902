"""Examples in one row do not see each other, and packing changes no number: states, losses, gradients, curves.

Shapes: B examples, T positions, N supervised positions, H width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.method import Feature, WhiteBox
from stillhouse.students.causal import CausalStudent
from stillhouse.students.collating.decoder import collate_decoder, pack_decoder
from stillhouse.tensors import Batch, Encoded, Output, Wanted
from stillhouse.training.objective import Objective, Window
from stillhouse.training.packing import keeps_apart, packer_of
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import recipe, run, write_sums

GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 1},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "gpt2": GPT2,
}


def student(root: Path, shape: dict[str, Any]) -> CausalStudent:
    spec = tiny_spec(write_tokenizer(root / "tokenizer"), **shape)
    if shape is GPT2:
        spec = spec.model_copy(update={"config": GPT2})
    made = CausalStudent.build(spec, seed=1)
    made.network.eval()
    return made


def rows() -> list[Encoded]:
    """Answers of 1 to 7 tokens in examples of 3 to 14, of different weights."""
    lengths = [3, 14, 5, 4, 9, 3, 6]
    return [
        Encoded(f"row-{i}", tuple((7 * i + 3 * j) % 90 for j in range(n)), n - 1 - i % (n - 1), 1.0 + i)
        for i, n in enumerate(lengths)
    ]


def test_short_examples_share_rows_and_each_is_there_once() -> None:
    packed, plain = pack_decoder(rows(), 0), collate_decoder(rows(), 0)
    assert plain.inputs["input_ids"].shape == (7, 14)
    assert packed.inputs["input_ids"].shape == (4, 14)
    positions_BT = packed.inputs["position_ids"]
    assert sorted(((positions_BT == 1).sum(dim=1)).tolist()) == [1, 1, 2, 3], "every example of two tokens or more begins once"
    for name in ("targets_N", "weights_N", "owners_N"):
        assert torch.equal(getattr(packed, name), getattr(plain, name)), name
    assert (packed.examples, packed.real_tokens) == (plain.examples, plain.real_tokens)


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_examples_have_the_logits_they_have_alone(tmp_path: Path, shape: str) -> None:
    made = student(tmp_path, SHAPES[shape])
    with torch.no_grad():
        packed_NV = made.output(pack_decoder(rows(), 0)).scores_NV
        plain_NV = made.output(collate_decoder(rows(), 0)).scores_NV
        alone_NV = torch.cat([made.output(collate_decoder([row], 0)).scores_NV for row in rows()])
    assert (packed_NV - plain_NV).abs().max() <= 1e-5
    assert (packed_NV - alone_NV).abs().max() <= 1e-5


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_gradients_are_invariant_to_padding_and_to_packing(tmp_path: Path, shape: str) -> None:
    made = student(tmp_path, SHAPES[shape])
    long = Encoded("long", tuple(range(4, 44)), 39, 0.0)
    plain = _gradients(made, [collate_decoder(rows(), 0)])
    padded = _gradients(made, [collate_decoder([*rows(), long], 0)])
    packed = _gradients(made, [pack_decoder(rows(), 0)])
    for name, gradient in plain.items():
        assert (gradient - padded[name]).abs().max() <= 1e-6, name
        assert (gradient - packed[name]).abs().max() <= 1e-6, name


def _gradients(made: CausalStudent, batches: list[Batch]) -> dict[str, Tensor]:
    made.network.zero_grad(set_to_none=True)
    for batch in batches:
        torch.autograd.backward(Objective().losses(made, batch, Window.of(batches))["loss"])
    return {name: parameter.grad.clone() for name, parameter in made.network.named_parameters()}


@pytest.mark.parametrize("taught", [False, True])
def test_a_packed_run_has_the_curve_of_a_padded_one(tmp_path: Path, taught: bool) -> None:
    write_sums(tmp_path / "data")
    folders: dict[str, Any] = {}
    options: dict[str, Any] = {"steps": 6, "dropout": 0.0, "bucket": False}
    if taught:
        student(tmp_path, {"hidden_size": 48}).save(tmp_path / "teacher")
        folders, options["method"] = {"teacher_folder": tmp_path / "teacher"}, WhiteBox(temperature=2.0)
    plain, packed = (
        run(recipe(tmp_path, pack=pack, **options), tmp_path / "data", tmp_path / f"work-{pack}", **folders)
        for pack in (False, True)
    )
    for step, metrics in plain.curve.items():
        assert packed.curve[step] == pytest.approx(metrics, abs=1e-5)


class Leaky(CausalStudent):
    """A network that is not told where examples begin, as older architectures are not."""

    def output(self, batch: Batch, *, wanted: Wanted | None = None) -> Output:
        inputs = {"input_ids": batch.inputs["input_ids"]}
        return super().output(Batch(**{**vars(batch), "inputs": inputs}), wanted=wanted)


def test_a_network_in_which_examples_see_each_other_is_refused(tmp_path: Path) -> None:
    sound = student(tmp_path, {})
    leaky = Leaky(sound.network, sound.tokenizer)
    assert keeps_apart(sound, sound.pack)
    assert not keeps_apart(leaky, leaky.pack)
    with pytest.raises(RecipeError, match=r"'llama' network.*see each other.*pack = false"):
        packer_of(leaky)


def test_features_are_not_compared_in_packed_rows(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    student(tmp_path, {}).save(tmp_path / "teacher")
    plan = recipe(tmp_path, pack=True, method=WhiteBox(features=(Feature(loss="hidden_states"),)))
    with pytest.raises(RecipeError, match="packed rows hold several examples"):
        run(plan, tmp_path / "data", tmp_path / "work", teacher_folder=tmp_path / "teacher")
