"""Deletions beside a worker that goes on: neither takes back what the other has written. What clients see is in tests/sdk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.document import Document
from stillhouse.evaluation.blocks import Block, put_block
from stillhouse.evaluation.keeping import pack
from stillhouse.grade import Answered, Grade
from stillhouse.jobs.eval_answers import answered_rows
from stillhouse.jobs.eval_rows import RowFiles, StoredId, journal_path, run_files
from stillhouse.jobs.evals import EVAL_RUN, EvalRunRecord, find_run
from stillhouse.jobs.forgetting import erase_in
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.stores.sql import SqlStore

RUN = "evalrun-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(Settings(data_dir=tmp_path), role="server")
    yield store
    store.close()


def row(completion: str) -> Answered:
    grades = {"right": Grade(score=1.0, passed=True, reason=f"as {completion} says")}
    return Answered(
        example=completion, model="m", answer=completion, grades=grades, item={"q": completion}, completion=completion
    )


def enter(store: SqlStore, settings: Settings) -> tuple[Block, Block]:
    """A run over three exchanges, of whose two blocks one is kept; both blocks."""
    files = run_files(settings, RUN)
    first, second = put_block([row("a"), row("b")], files.put), put_block([row("c")], files.put)
    names = files.put(pack([StoredId(completion=name) for name in "abc"]))
    record = EvalRunRecord(
        name="r", data_source={}, token="t", epoch=1, rows=RowFiles(stored=(names,), count=3), blocks=(first,),
        contamination={"pairs": [{"other": f"row:{place}", "seen_text": "s", "other_text": "o"} for place in range(3)]},
    )  # fmt: skip
    store.put_document(Document(kind=EVAL_RUN, id=RUN, created=1, record=record.model_dump(mode="json"))).result()
    return first, second


def test_a_block_that_was_kept_meanwhile_stays(store: SqlStore, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first, second = enter(store, settings)
    stale, files = find_run(store, RUN), run_files(settings, RUN)
    store.change_document(EVAL_RUN, RUN, {"blocks": [block.model_dump(mode="json") for block in (first, second)]}).result()
    assert erase_in(store, settings, stale, {"a"}) == (True, True)
    record = find_run(store, RUN).record
    assert record.blocks[1] == second and record.blocks[0].standings == first.standings and first.file not in files
    assert [pair["seen_text"] for pair in (record.contamination or {})["pairs"]] == ["", "s", "s"]

    seen = stale.record.model_copy(update={"blocks": (first, second)})
    reader = stale.model_copy(update={"record": seen})  # who looked before
    assert [(each.example, each.answer, each.grades["right"].reason) for each in answered_rows(store, settings, reader)] == [
        ("a", "", ""), ("b", "b", "as b says"), ("c", "c", "as c says"),
    ]  # fmt: skip


def test_two_deletions_that_saw_the_same_block_both_reach_it(store: SqlStore, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    enter(store, settings)
    stale, files = find_run(store, RUN), run_files(settings, RUN)
    killed = files.put(pack([row("b")]))  # by one that died before it had named it
    assert [erase_in(store, settings, stale, {name}) for name in "ab"] == [(True, True)] * 2
    run = find_run(store, RUN)
    assert [each.answer for each in answered_rows(store, settings, run)] == ["", ""]
    assert run.record.rows is not None and killed not in files
    assert set(files.names()) == {*run.record.rows.stored, *(block.file for block in run.record.blocks)}


def test_what_was_kept_for_resuming_goes_where_nobody_works(store: SqlStore, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    enter(store, settings)
    kept, journal = (journal_path(settings, RUN, block) for block in range(2))
    kept.write_text("what a model said about b\n")  # its worker was killed between keeping the block and this
    journal.write_text("what a model said about c\n")
    assert erase_in(store, settings, find_run(store, RUN), {"elsewhere"}) == (False, True)
    assert erase_in(store, settings, find_run(store, RUN), {"a"}) == (True, True) and journal.exists()
    assert not kept.exists()
    assert erase_in(store, settings, find_run(store, RUN), {"c"}) == (True, True) and not journal.exists()
