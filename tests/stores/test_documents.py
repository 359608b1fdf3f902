"""What every Store promises of documents: kinds and ids, compare and set, pages that survive deletions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import NotFoundError
from stillhouse.ids import new_id, second_of
from stillhouse.stores.opening import open_store
from stillhouse.stores.sql import SqlStore
from tests.stores.samples import completion, ended, request_bytes, settings_in


def document(id: str, **changes: object) -> Document:
    return Document.model_validate({"kind": "note", "id": id, "created": 5, "record": {"state": "open"}, **changes})


def listed(store: SqlStore, **query: object) -> list[str]:
    return [item.id for item in store.documents(DocumentQuery.model_validate({"kind": "note", **query})).items]


def test_documents_are_kept_by_kind_and_id(store: SqlStore) -> None:
    first, other = document("a", parent="p"), document("a", kind="other", record={"x": [1, None, "é"]})
    for each in (first, other, document("b")):
        store.put_document(each).result()
    changed = document("a", parent="q", record={"state": "shut"})
    store.put_document(changed).result()
    assert (store.document("note", "a"), store.document("other", "a")) == (changed, other)
    assert store.delete_document("note", "a").result() is True
    assert store.delete_document("note", "a").result() is False
    assert store.document("note", "a") is None and store.document("other", "a") == other


def test_a_document_changes_only_from_a_state_that_was_expected(store: SqlStore) -> None:
    store.put_document(document("a", record={"state": "open", "n": 1})).result()
    assert store.change_document("note", "a", {"state": "shut"}, {"state": ["new", "open"]}).result() == {"state": "shut", "n": 1}
    assert store.change_document("note", "a", {"n": 2}, {"state": ["open"]}).result() is None
    assert store.change_document("note", "none", {"n": 2}).result() is None
    kept = store.document("note", "a")
    assert kept is not None and kept.record == {"state": "shut", "n": 1}


def test_documents_come_in_pages_by_creation_then_id(store: SqlStore) -> None:
    for id, created in (("c", 1), ("a", 2), ("b", 2), ("d", 3)):
        store.put_document(document(id, created=created, parent="p" if id in "ab" else "")).result()
    store.put_document(document("z", kind="other")).result()
    for order, whole in (("asc", ["c", "a", "b", "d"]), ("desc", ["d", "b", "a", "c"])):
        seen: list[str] = []
        more = True
        while more:
            page = store.documents(DocumentQuery(kind="note", limit=1, order=order, after=seen[-1] if seen else None))
            seen += [item.id for item in page.items]
            more = page.has_more
        assert seen == whole
    assert listed(store, parent="p") == ["b", "a"]
    with pytest.raises(NotFoundError, match="no note 'none'"):
        listed(store, after="none")


def test_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    """Contents and labels; words may stay in the search index until it merges its blocks."""
    canary, content = "canary-person@example.org", os.urandom(300)
    begun = completion(metadata={"who": canary})
    for deleted in (False, True):
        store = open_store(settings_in(tmp_path), role="server")
        if deleted:
            assert store.delete_completions([begun.id]).result() == 1
        else:
            store.begin_completion(begun, request_bytes("?")).result()
            store.finish_completion(ended(begun), content).result()
        store.close()
        on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert (canary.encode() in on_disk, content in on_disk) == (not deleted, not deleted)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_documents_can_be_deleted_page_by_page(store: SqlStore, order: Literal["asc", "desc"]) -> None:
    """As a client's loop does: what the next page goes on after is gone by then."""
    ids = [new_id("note") for _ in range(9)]
    now = second_of(ids[0])
    assert now is not None
    for number, id in enumerate(ids):
        store.put_document(document(id, created=now + number // 5)).result()
    left, last = list(ids), None
    while page := store.documents(DocumentQuery(kind="note", limit=2, order=order, after=last)).items:
        for each in page:
            store.delete_document("note", each.id).result()
            left.remove(each.id)
        last = page[-1].id
    assert left == []


def test_documents_are_found_by_their_fields_and_metadata(store: SqlStore) -> None:
    for id, metadata in (("a", {'k"ey': "v"}), ("b", None), ("c", {'k"ey': "other"})):
        store.put_document(document(id, record={"state": "open" if id != "c" else "shut", "metadata": metadata})).result()
    assert listed(store, metadata={'k"ey': "v"}) == ["a"]
    assert listed(store, where={"state": "open"}, limit=1) == ["b"]
    assert listed(store, where={"state": "shut"}, metadata={'k"ey': "v"}) == []
