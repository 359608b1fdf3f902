"""A checkpoint is whole or it is not taken."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stillhouse.errors import TrainingError
from stillhouse.training import checkpoint as checkpoints
from stillhouse.training.checkpoint import Checkpoint
from tests.training.runs import recipe, run, weights_hash, write_sums


def state(step: int) -> Checkpoint:
    return Checkpoint(step, {"step": step}, {"weights": {"a": torch.full((3,), float(step))}, "random": {"cpu": torch.arange(4)}})


def write(folder: Path, *steps: int, keep: int = 2) -> None:
    for step in steps:
        checkpoints.save(folder, state(step), keep=keep)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    newest = checkpoints.load_newest(tmp_path)
    assert newest is not None
    assert (newest.step, newest.scalars) == (2, {"step": 2})
    assert torch.equal(newest.tensors["weights"]["a"], torch.full((3,), 2.0))
    assert torch.equal(newest.tensors["random"]["cpu"], torch.arange(4))


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert checkpoints.load_newest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, Path.unlink])
@pytest.mark.parametrize("name", ["weights.safetensors", "random.safetensors", "scalars.json", "manifest.json"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    write(tmp_path, 1, 2)
    damage(tmp_path / "step-000000002" / name)
    newest = checkpoints.load_newest(tmp_path)
    assert newest is not None and newest.step == 1


def test_the_newest_are_kept_and_the_others_removed(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 10, 9, keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000002", "step-000000009", "step-000000010"]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / ".draft-step-000000002-0").mkdir()
    checkpoints.load_newest(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_a_damaged_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    truncate(tmp_path / "step-000000002" / "weights.safetensors")
    write(tmp_path, 2)
    newest = checkpoints.load_newest(tmp_path)
    assert newest is not None and newest.step == 2


def test_a_whole_one_of_the_same_step_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)
    monkeypatch.setattr(checkpoints, "save_file", full)
    write(tmp_path, 1)
    newest = checkpoints.load_newest(tmp_path)
    assert newest is not None and newest.step == 1


def test_a_full_disk_leaves_the_last_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 1)
    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(TrainingError, match=r"No space left.*newest whole one is of step 1"):
        write(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_a_run_goes_on_from_the_checkpoint_before_a_torn_one(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, checkpoint_every=2)
    whole = run(plan, tmp_path / "data", tmp_path / "whole")
    run(plan, tmp_path / "data", tmp_path / "torn", stop_at=6)
    truncate(tmp_path / "torn" / "checkpoints" / "step-000000006" / "optimizer.safetensors")
    log = run(plan, tmp_path / "data", tmp_path / "torn")
    assert log.messages == ["resumed from the checkpoint of step 4"]
    assert log.curve == {step: metrics for step, metrics in whole.curve.items() if step > 4}
    assert weights_hash(tmp_path / "torn") == weights_hash(tmp_path / "whole")
