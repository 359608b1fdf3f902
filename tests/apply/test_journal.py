from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

import pytest

from stillhouse.apply import Journal, Outcome
from stillhouse.errors import ConflictError


def outcome(key: str) -> Outcome:
    return Outcome(key=key, body="答案", latency_ms=1.5)


def test_what_was_added_is_there_after_opening_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "deep" / "j.jsonl", Outcome) as journal:
        for key in "abc":
            journal.add(outcome(key))
    with Journal(tmp_path / "deep" / "j.jsonl", Outcome) as journal:
        assert journal.items() == [outcome(key) for key in "abc"]


def test_cut_at_any_byte_the_whole_lines_are_there_and_adding_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal(path, Outcome) as journal:
        journal.add(outcome("a"))
        journal.add(outcome("b"))
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        with Journal(path, Outcome) as journal:
            whole = journal.items()
            assert [item.key for item in whole] == ["a", "b"][: (cut >= first) + (cut >= len(content))]
            journal.add(outcome("c"))
            assert journal.items() == [*whole, outcome("c")]


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", Outcome), pytest.raises(ConflictError, match="Another process"):
        Journal(tmp_path / "j", Outcome)


def test_one_that_is_dropped_while_another_run_opens_it_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Journal(tmp_path / "j", Outcome)
    lock = fcntl.flock

    def overtaken(file: IO[bytes], how: int) -> None:
        monkeypatch.undo()
        with first:
            first.drop()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", overtaken)
    with Journal(tmp_path / "j", Outcome) as journal:
        journal.add(outcome("a"))
    with Journal(tmp_path / "j", Outcome) as journal:
        assert journal.items() == [outcome("a")]


def test_dropped_it_is_gone(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", Outcome) as journal:
        journal.add(outcome("a"))
        journal.drop()
    with Journal(tmp_path / "j", Outcome) as journal:
        assert journal.items() == []
