"""Files by id: bytes once, records each, nothing without the other, nothing after its time."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import pytest

from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import NotFoundError
from stillhouse.filing import Filing
from stillhouse.settings import Settings
from stillhouse.stores.sql import SqlStore
from tests.filing.conftest import Clock


def blobs(settings: Settings) -> list[bytes]:
    return sorted(path.read_bytes() for path in settings.uploads.glob("??/*"))


def ids(filing: Filing, **query: object) -> list[str]:
    asked = DocumentQuery.model_validate({"kind": "file", "order": "asc", **query})
    return [record.id for record in filing.page(asked).items]


def test_bytes_are_kept_once_and_go_with_the_last_record(store: SqlStore, settings: Settings, tmp_path: Path) -> None:
    filing = Filing(store, settings)
    (tmp_path / "source").write_bytes(b"same")
    first, second = filing.keep(b"same", "a", "user_data"), filing.keep(tmp_path / "source", "b", "batch_output")
    assert first.sha256 == second.sha256 and blobs(settings) == [b"same"]
    filing.delete(first.id)
    assert filing.path_of(second.id).read_bytes() == b"same"
    filing.delete(second.id)
    assert blobs(settings) == []
    with pytest.raises(NotFoundError):
        filing.path_of(second.id)


def test_what_a_reader_holds_stays_until_it_has_ended(store: SqlStore, settings: Settings) -> None:
    filing = Filing(store, settings)
    made = [filing.keep(content, "a", "evals") for content in (b'{"item": {}}', b'{"item": {"a": 1}}')]
    for number, record in enumerate((made[0], made[0], made[1])):
        held = {"held": [record.sha256]}
        store.put_document(Document(kind="eval.run", id=f"run-{number}", created=1, record=held)).result()
    reader = Filing(store, settings, held={record.id: record.sha256 for record in made})
    for record in made:
        filing.delete(record.id)
    filing.sweep()
    assert [reader.path_of(record.id).read_bytes() for record in made] == [b'{"item": {}}', b'{"item": {"a": 1}}']
    with pytest.raises(NotFoundError):
        filing.path_of(made[0].id)
    filing.release("eval.run", "run-0")
    assert len(blobs(settings)) == 2, "another one still reads it"
    for _ in range(2):
        filing.release("eval.run", "run-1")
    assert blobs(settings) == [b'{"item": {"a": 1}}']
    with pytest.raises(NotFoundError, match="was deleted, and nobody holds"):
        reader.path_of(made[0].id)


def test_what_has_expired_is_gone_from_everywhere_at_once_and_from_disk_with_the_sweep(
    store: SqlStore, settings: Settings
) -> None:
    clock = Clock()
    filing = Filing(store, settings, clock)
    made = [filing.keep(bytes([n]), str(n), "user_data", seconds=3600 if n % 2 else None).id for n in range(9)]
    assert ids(filing) == made
    clock.now += 3600
    assert ids(filing) == ids(filing, limit=5) == made[::2]
    assert [ids(filing, limit=2), ids(filing, limit=2, after=made[2]), ids(filing, limit=2, after=made[6])] == [
        made[0:3:2], made[4:7:2], made[8:],
    ]  # fmt: skip
    assert not filing.page(DocumentQuery(kind="file", limit=5)).has_more
    for gone in (filing.file, filing.path_of, filing.delete):
        with pytest.raises(NotFoundError):
            gone(made[1])
    assert len(blobs(settings)) == 9
    assert filing.sweep() == 4
    assert len(blobs(settings)) == 5
    assert filing.sweep() == 0


def test_bytes_whose_record_was_never_written_are_swept(store: SqlStore, settings: Settings) -> None:
    filing = Filing(store, settings)
    with filing.draft() as draft:
        draft.write(b"orphan")
        draft.keep()
        filing.sweep()
        assert blobs(settings) == [b"orphan"]  # whoever keeps it may still be about to say so
    filing.sweep()
    assert blobs(settings) == []


def test_while_one_deletes_another_files_the_same_bytes_and_keeps_them(store: SqlStore, settings: Settings) -> None:
    """Two threads, each filing and deleting the same bytes; no record is ever seen without its bytes."""
    filing, turns, problems = Filing(store, settings), itertools.count(), list[BaseException]()

    def work() -> None:
        try:
            while next(turns) < 60:
                record = filing.keep(b"same", "x", "user_data")
                assert filing.path_of(record.id).read_bytes() == b"same"
                filing.delete(record.id)
        except BaseException as exc:
            problems.append(exc)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert blobs(settings) == [] and ids(filing) == []
