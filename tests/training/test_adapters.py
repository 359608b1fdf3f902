"""Training through an adapter: the base stays as it is, checkpoints are small, a stopped run goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stillhouse.recipe import Adapter, Recipe
from stillhouse.students.causal import CausalStudent
from tests.training.runs import recipe, run, weights_hash, write_sums

ADAPTER = Adapter(rank=2, alpha=8.0, dropout=0.1, targets=("q_proj", "v_proj"))


def base(root: Path) -> Path:
    CausalStudent.build(recipe(root).student, seed=4).save(root / "base")
    return root / "base"


def plan(root: Path, adapter: Adapter = ADAPTER, **training: Any) -> Recipe:
    plain = recipe(root, **training)
    spec = plain.student.model_copy(update={"config": {}, "tokenizer": None, "adapter": adapter, "base": "base"})
    return plain.model_copy(update={"student": spec})


@pytest.mark.parametrize("stop_at", [3, 7])
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, stop_at: int) -> None:
    write_sums(tmp_path / "data")
    data, folder = tmp_path / "data", base(tmp_path)
    whole = run(plan(tmp_path), data, tmp_path / "whole", base_folder=folder)
    first = run(plan(tmp_path), data, tmp_path / "parts", stop_at=stop_at, base_folder=folder)
    second = run(plan(tmp_path), data, tmp_path / "parts", base_folder=folder)
    assert {**first.curve, **second.curve} == whole.curve
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")


def test_only_what_is_adapted_differs_from_the_base(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    folder = base(tmp_path)
    run(plan(tmp_path, steps=4), tmp_path / "data", tmp_path / "work", base_folder=folder)
    before = load_file(folder / "model.safetensors")
    after = load_file(tmp_path / "work" / "student" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed == {name for name in before if "q_proj" in name or "v_proj" in name}
    assert (tmp_path / "work" / "student" / "adapter" / "adapter_config.json").is_file()


def test_a_checkpoint_holds_the_adapter_alone(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    run(plan(tmp_path), tmp_path / "data", tmp_path / "work", stop_at=3, base_folder=base(tmp_path))
    [place] = (tmp_path / "work" / "checkpoints").glob("step-*")
    kept = {name for path in place.glob("weights*.safetensors") for name in load_file(path)}
    assert kept
    assert all(".lora_" in name for name in kept)
    moments = sum(tensor.numel() for tensor in load_file(place / "optimizer.safetensors").values())
    assert moments < 3 * sum(tensor.numel() for path in place.glob("weights*") for tensor in load_file(path).values())


def test_it_learns(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    options = {"steps": 40, "accumulate": 1, "learning_rate": 2e-2, "dropout": 0.0}
    log = run(plan(tmp_path, Adapter(), **options), tmp_path / "data", tmp_path / "work", base_folder=base(tmp_path))
    assert log.curve[40]["train/loss"] < log.curve[1]["train/loss"] - 0.2  # around random weights: not much
    loaded = CausalStudent.load(tmp_path / "work" / "student")
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}
