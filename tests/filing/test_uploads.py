"""Files in parts: bounded, ended once, nothing left of those whose time is over."""

from __future__ import annotations

import pytest

from stillhouse.document import DocumentQuery
from stillhouse.errors import NotFoundError, UsageError
from stillhouse.filing import Filing, Part, Uploads, uploads
from stillhouse.settings import Settings
from stillhouse.stores.sql import SqlStore
from tests.filing.conftest import Clock


def add(filing: Filing, made: Uploads, upload_id: str, content: bytes) -> Part:
    with filing.draft() as draft:
        draft.write(content)
        return made.add(upload_id, draft)


def blobs(settings: Settings) -> list[bytes]:
    return sorted(path.read_bytes() for path in settings.uploads.glob("??/*"))


def test_after_an_hour_it_takes_nothing_and_its_parts_go(store: SqlStore, settings: Settings) -> None:
    clock = Clock()
    filing = Filing(store, settings, clock)
    made = Uploads(store, filing, clock)
    upload, kept = made.create(4, "a", "user_data"), made.create(2, "b", "user_data")
    part = add(filing, made, upload.id, b"ab")
    filing.sweep()
    assert blobs(settings) == [b"ab"]
    with pytest.raises(UsageError, match="2 bytes together"):
        made.complete(upload.id, [part.id])
    clock.now += 3599
    assert made.sweep() == 0
    done, file = made.complete(kept.id, [add(filing, made, kept.id, b"cd").id])
    assert (done.status, file.id) == ("completed", kept.file_id)
    clock.now += 1
    for refused in (lambda: add(filing, made, upload.id, b"cd"), lambda: made.complete(upload.id, [part.id]),
                    lambda: made.cancel(upload.id)):  # fmt: skip
        with pytest.raises(UsageError, match="is expired"):
            refused()
    assert (made.sweep(), made.sweep()) == (1, 0)
    assert made.upload(upload.id).status == "expired" and made.upload(kept.id).status == "completed"
    assert blobs(settings) == [b"cd"]
    clock.now += 30 * 86_400
    assert made.sweep() == 0
    with pytest.raises(NotFoundError):
        made.upload(upload.id)
    assert filing.path_of(file.id).read_bytes() == b"cd"


def test_parts_are_bounded_in_number_and_bytes(store: SqlStore, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PARTS", 3)
    monkeypatch.setattr(uploads, "PART_BYTES", 5)
    filing = Filing(store, settings)
    made = Uploads(store, filing)
    many, large = made.create(100, "a", "user_data"), made.create(4, "b", "user_data")
    for _ in range(3):
        add(filing, made, many.id, b"x")
    with pytest.raises(UsageError, match="has 3 parts"):
        add(filing, made, many.id, b"x")
    with pytest.raises(UsageError, match="has 3 parts"):
        add(filing, Uploads(store, filing), many.id, b"x")  # a server that was started again counts the same
    add(filing, made, large.id, b"12345")
    with pytest.raises(UsageError, match="more than the 4 bytes"):
        add(filing, made, large.id, b"12345")
    assert blobs(settings) == [b"12345", b"x"]


def test_one_that_died_while_completing_makes_the_same_file_again(
    store: SqlStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    filing = Filing(store, settings)
    made = Uploads(store, filing)
    upload = made.create(2, "a", "user_data")
    part = add(filing, made, upload.id, b"ab")
    with monkeypatch.context() as patch:
        patch.setattr(made, "_end", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            made.complete(upload.id, [part.id])
    _, file = Uploads(store, filing).complete(upload.id, [part.id])
    assert file.id == upload.file_id and filing.path_of(file.id).read_bytes() == b"ab"
    assert [document.id for document in store.documents(DocumentQuery(kind="file")).items] == [file.id]
