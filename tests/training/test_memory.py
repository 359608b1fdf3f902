"""Memory runs out: micro-batches get smaller, the step stays the step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from stillhouse.errors import TrainingError
from stillhouse.method import Feature, WhiteBox
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Batch, Encoded, Output, Wanted
from stillhouse.training.stepping import cut, is_out_of_memory
from tests.training.runs import recipe, run, weights_hash, write_sums

CPU = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
WINDOWS = "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."


class Room:
    """How many examples a forward pass has memory for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.examples = 1000
        self.error: Exception = RuntimeError(CPU)
        output = CausalStudent.output
        room = self

        def limited(student: CausalStudent, batch: Batch, *, wanted: Wanted | None = None) -> Output:
            if len(batch.examples) > room.examples and torch.is_grad_enabled():
                raise room.error
            return output(student, batch, wanted=wanted)

        monkeypatch.setattr(CausalStudent, "output", limited)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(monkeypatch)


@pytest.mark.parametrize("error", [RuntimeError(CPU), MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_micro_batches_are_halved_and_the_curve_stays(tmp_path: Path, room: Room, error: Exception) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, steps=5, dropout=0.0)
    enough = run(plan, tmp_path / "data", tmp_path / "enough")
    room.examples, room.error = 2, error
    scarce = run(plan, tmp_path / "data", tmp_path / "scarce")
    for step, metrics in enough.curve.items():
        assert scarce.curve[step] == pytest.approx(metrics, abs=1e-5)
    assert scarce.messages == [
        "memory ran out with micro-batches of 8: from now on they are of 4 at most, and a step has as many examples as before",
        "memory ran out with micro-batches of 4: from now on they are of 2 at most, and a step has as many examples as before",
    ]


def test_it_is_said_where_smaller_micro_batches_change_what_is_compared(tmp_path: Path, room: Room) -> None:
    write_sums(tmp_path / "data")
    CausalStudent.build(recipe(tmp_path).student, seed=7).save(tmp_path / "teacher")
    method = WhiteBox(features=(Feature(loss="rkd_distance"),))
    plan = recipe(tmp_path, method=method, steps=1, dropout=0.0)
    room.examples = 4
    said = run(plan, tmp_path / "data", tmp_path / "work", teacher_folder=tmp_path / "teacher").messages
    assert said[0].endswith("; features that compare texts with each other compare fewer now")


def test_the_step_is_done_again_with_the_same_random_numbers(tmp_path: Path, room: Room) -> None:
    """With dropout: micro-batches halved from the start say the same as ones halved on the way."""
    write_sums(tmp_path / "data")
    room.examples = 4
    halved = run(recipe(tmp_path, steps=3), tmp_path / "data", tmp_path / "halved")
    small = run(recipe(tmp_path, steps=3, batch_size=4, accumulate=6), tmp_path / "data", tmp_path / "small")
    assert halved.messages and not small.messages
    assert halved.curve == small.curve


def test_a_resumed_run_begins_with_the_smaller_ones(tmp_path: Path, room: Room) -> None:
    write_sums(tmp_path / "data")
    room.examples = 4
    plan = recipe(tmp_path)
    whole = run(plan, tmp_path / "data", tmp_path / "whole")
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=7)
    second = run(plan, tmp_path / "data", tmp_path / "parts")
    assert second.messages == ["resumed from the checkpoint of step 7"]
    assert {**first.curve, **second.curve} == whole.curve
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")


def test_a_single_example_that_does_not_fit_is_an_error_with_a_remedy(tmp_path: Path, room: Room) -> None:
    write_sums(tmp_path / "data")
    room.examples = 0
    with pytest.raises(TrainingError, match=r"single example.*sum-\d-\d, of \d+ tokens.*gradient_checkpointing = true"):
        run(recipe(tmp_path), tmp_path / "data", tmp_path / "work")


def test_other_errors_are_not_taken_for_it(tmp_path: Path, room: Room) -> None:
    write_sums(tmp_path / "data")
    room.examples, room.error = 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run(recipe(tmp_path), tmp_path / "data", tmp_path / "work")
    assert is_out_of_memory(RuntimeError(WINDOWS))


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"), [([8, 5], None, [8, 5]), ([8, 5], 4, [4, 4, 4, 1]), ([3, 1], 1, [1, 1, 1, 1]), ([], 2, [])]
)
def test_parts_are_cut_into_pieces_none_of_them_empty(sizes: list[int], limit: int | None, expected: list[int]) -> None:
    parts: list[Sequence[Encoded]] = [[Encoded(str(i), (1,), 0, 1.0) for i in range(size)] for size in sizes]
    assert [len(piece) for piece in cut(parts, limit)] == expected
