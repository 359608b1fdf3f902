"""A student that no name leads to any more ends its process with the last request, and answers one that comes late."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.models.student import StudentModel
from tests.fakes.processes import gone
from tests.models.asking import ask, content_of


async def test_a_retired_student_finishes_what_is_under_way_and_then_its_process_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("stillhouse.models.student.WORKER", "tests.models.child")
    model = StudentModel(tmp_path, model_id="student-1")
    stream = model.stream(ask())
    chunks = [await anext(stream)]
    first = model.pid
    assert first is not None
    model.retire()
    assert model.pid == first and not gone(first)
    chunks += [chunk async for chunk in stream]
    assert content_of(chunks) == "one two" and model.pid is None
    late = await model.complete(ask())
    assert late.text == "two" and model.pid is None
    await model.close()
    assert gone(first)


async def test_one_that_never_answered_has_nothing_to_end(tmp_path: Path) -> None:
    model = StudentModel(tmp_path, model_id="student-1")
    model.retire()
    assert model.pid is None
    await model.close()
