"""The event file: whatever byte a crash cuts it at, what was whole stays, and appending goes on behind it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.jobs.journal import EVENTS, Journal, Status, read_events, read_status, write_status


def test_events_are_numbered_on_across_openings_and_unsent_until_confirmed(tmp_path: Path) -> None:
    first = Journal(tmp_path, "run-1")
    first.append("one")
    first.append(step=2, metrics={"train/loss": 0.5})
    first.close()
    second = Journal(tmp_path, "run-1")
    second.append("three")
    unsent = second.unsent()
    assert [(event.seq, event.message) for event in unsent] == [(0, "one"), (1, ""), (2, "three")]
    second.sent(unsent[:2])
    assert [event.seq for event in second.unsent()] == [2]
    second.close()
    assert read_events(tmp_path / EVENTS) == unsent


@given(messages=st.lists(st.text(max_size=20), min_size=1, max_size=5), share=st.floats(0, 1))
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_goes_on(messages: list[str], share: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder, "run-1")
        whole = [journal.append(message) for message in messages]
        journal.close()
        content = (folder / EVENTS).read_bytes()
        cut = round(share * len(content))
        (folder / EVENTS).write_bytes(content[:cut])
        kept = content[:cut].count(b"\n")
        again = Journal(folder, "run-1")
        added = again.append("added")
        again.close()
        assert read_events(folder / EVENTS) == [*whole[:kept], added]
        assert added.seq == kept


def test_a_status_speaks_for_its_own_claim_only(tmp_path: Path) -> None:
    assert read_status(tmp_path, 1) is None
    write_status(tmp_path, Status(epoch=1, state="failed", finished=5, error="no memory"))
    status = read_status(tmp_path, 1)
    assert status is not None and status.error == "no memory"
    assert read_status(tmp_path, 2) is None


def test_a_number_that_json_cannot_hold_is_told_in_words(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "run-1")
    journal.append("step done", step=1, metrics={"train/loss": 0.5, "train/grad_norm": float("inf")})
    journal.close()
    (event,) = read_events(tmp_path / EVENTS)
    assert (event.message, event.metrics) == ("step done (train/grad_norm is inf)", {"train/loss": 0.5})
