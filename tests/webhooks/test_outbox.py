"""The outbox: noted once, tried until taken, given up in the end; nothing lost when the process dies in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.document import Document, DocumentQuery
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.stores.sql import SqlStore
from stillhouse.webhook import Event, WebhookEndpoint
from stillhouse.webhooks import Outbox, Poster
from stillhouse.webhooks.outbox import DONE, DUE, ENDPOINT, GIVE_UP_SECONDS, KEPT_SECONDS

EVENT = Event(id="evt_1", type="batch.completed", created_at=1, data={"id": "batch-1"})


class Receiver(Poster):
    """Answers by plan, then 200; None: it does not answer."""

    def __init__(self, *plan: int | None) -> None:
        super().__init__()
        self.plan = list(plan)
        self.got: list[tuple[str, dict[str, object], dict[str, str]]] = []

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        self.got.append((url, json.loads(body), headers))
        status = self.plan.pop(0) if self.plan else 200
        if status is None:
            raise TimeoutError
        return status


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(Settings(data_dir=tmp_path))
    yield store
    store.close()


def subscribe(store: SqlStore, name: str, *types: str) -> None:
    endpoint = WebhookEndpoint(
        id=name,
        name=name,
        url=f"https://{name}.example/",
        event_types=types,
        created_at=1,
        updated_at=1,
        secrets=("whsec_c2VjcmV0",),
    )
    store.put_document(Document(kind=ENDPOINT, id=name, created=1, record=endpoint.model_dump(mode="json"))).result()


def kept(store: SqlStore, kind: str) -> list[Document]:
    return store.documents(DocumentQuery(kind=kind, order="asc")).items


async def test_everybody_who_asked_hears_of_it_once(store: SqlStore) -> None:
    subscribe(store, "a", "batch.completed", "batch.failed")
    subscribe(store, "b", "batch.completed")
    subscribe(store, "c", "eval.run.failed")
    receiver = Receiver()
    outbox = Outbox(store, receiver)
    await outbox.note(EVENT)
    await outbox.note(EVENT)
    await outbox.deliver()
    await outbox.note(EVENT)  # told again after a crash
    await outbox.deliver()
    assert sorted(url for url, _, _ in receiver.got) == ["https://a.example/", "https://b.example/"]
    url, body, headers = receiver.got[0]
    assert body == EVENT.model_dump() and headers["webhook-id"] == "evt_1"
    assert kept(store, DUE) == [] and [each.record["status"] for each in kept(store, DONE)] == [200, 200]


async def test_it_is_tried_again_later_and_later_until_it_is_taken(store: SqlStore) -> None:
    subscribe(store, "a", "batch.completed")
    receiver, clock = Receiver(500, None, 302), Clock()
    outbox = Outbox(store, receiver, clock)
    await outbox.note(EVENT)
    waits = []
    for attempt in range(1, 5):
        await outbox.deliver()
        assert len(receiver.got) == attempt
        waits.append(await outbox.deliver())  # nothing is due before its time
        assert len(receiver.got) == attempt
        due = kept(store, DUE)
        clock.now = due[0].record["next"] if due else clock.now
    assert 4 <= waits[0] <= 6 and 16 <= waits[1] <= 24
    assert kept(store, DONE)[0].record["attempts"] == 4


@pytest.mark.parametrize("ending", ["gone", "too old", "deleted"])
async def test_some_are_given_up(store: SqlStore, ending: str) -> None:
    subscribe(store, "a", "batch.completed")
    receiver, clock = Receiver(410 if ending == "gone" else 500), Clock()
    outbox = Outbox(store, receiver, clock)
    await outbox.note(EVENT)
    if ending == "deleted":
        store.delete_document(ENDPOINT, "a").result()
    clock.now += GIVE_UP_SECONDS + 1 if ending == "too old" else 0
    await outbox.deliver()
    assert kept(store, DUE) == [] and len(kept(store, DONE)) == 1
    assert len(receiver.got) == (0 if ending == "deleted" else 1)


async def test_what_was_noted_before_a_crash_is_delivered_after_it(store: SqlStore) -> None:
    subscribe(store, "a", "batch.completed")
    await Outbox(store, Receiver()).note(EVENT)
    receiver = Receiver()
    await Outbox(store, receiver).deliver()
    assert len(receiver.got) == 1


async def test_old_records_are_swept(store: SqlStore) -> None:
    subscribe(store, "a", "batch.completed")
    clock = Clock()
    outbox = Outbox(store, Receiver(), clock)
    await outbox.note(EVENT)
    await outbox.deliver()
    clock.now += KEPT_SECONDS + 1
    await outbox.deliver()
    assert kept(store, DONE) == []
