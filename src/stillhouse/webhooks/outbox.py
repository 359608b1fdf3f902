"""The outbox: deliveries that are due, kept on disk, tried until they are taken or three days old.

What is delivered or given up moves to another kind of document, so that a look at what is due reads nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable

from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import StillhouseError, StoreError
from stillhouse.stores.base import DocumentStore
from stillhouse.webhook import Event, WebhookEndpoint, signed_headers
from stillhouse.webhooks.posting import Poster

log = logging.getLogger(__name__)

ENDPOINT, DUE, DONE = "webhook_endpoint", "webhook_delivery", "webhook_delivered"
GIVE_UP_SECONDS = 72 * 3600
KEPT_SECONDS = 30 * 24 * 3600
"""How long the record of a delivery that has ended is kept."""
FIRST_WAIT, LONGEST_WAIT = 5.0, 6 * 3600.0
IDLE_SECONDS = 60.0
AT_ONCE = 100


class Outbox:
    """`note` what happened; `run` delivers. One to a store."""

    def __init__(self, store: DocumentStore, poster: Poster, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._poster = poster
        self._now = now
        self._woken = asyncio.Event()

    async def note(self, event: Event) -> None:
        """Put a delivery for everybody who asked for it on disk. Noted twice, it is there once. Raises StoreError."""
        for endpoint in await asyncio.to_thread(self._endpoints):
            identifier = f"{event.id}_{endpoint.id}"
            if event.type not in endpoint.event_types or await asyncio.to_thread(self._known, identifier):
                continue
            record = {"event": event.model_dump(mode="json"), "attempts": 0, "next": 0.0, "status": None}
            due = Document(kind=DUE, id=identifier, parent=endpoint.id, created=int(self._now()), record=record)
            await asyncio.wrap_future(self._store.put_document(due))
        self._woken.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._woken.clear()
            try:
                wait = await self.deliver()
            except StoreError as exc:
                log.warning("webhooks wait: %s", exc)
                wait = IDLE_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def deliver(self) -> float:
        """Try everything that is due; seconds until something is again."""
        due = await asyncio.to_thread(
            lambda: self._store.documents(DocumentQuery(kind=DUE, limit=AT_ONCE * 10, order="asc")).items
        )
        ready = [each for each in due if each.record["next"] <= self._now()][:AT_ONCE]
        await asyncio.gather(*(self._try(each) for each in ready))
        later: list[float] = [each.record["next"] for each in due if each not in ready]
        if ready:
            return 0.0
        await self._sweep()
        return min([IDLE_SECONDS, *(max(0.0, moment - self._now()) for moment in later)])

    async def _try(self, due: Document) -> None:
        endpoint = await asyncio.to_thread(self._endpoint, due.parent)
        if endpoint is None:  # deleted: nobody is there to hear of it
            await self._end(due, {**due.record, "error": "The endpoint was deleted."})
            return
        status, error = await self.send(endpoint, Event.model_validate(due.record["event"]))
        attempts = due.record["attempts"] + 1
        record = {**due.record, "attempts": attempts, "status": status, "error": error}
        taken = status is not None and 200 <= status < 300
        if taken or status == 410 or self._now() - due.created > GIVE_UP_SECONDS:
            await self._end(due, record)
            return
        wait = min(FIRST_WAIT * 4.0 ** (attempts - 1), LONGEST_WAIT) * random.uniform(0.8, 1.2)
        await asyncio.wrap_future(
            self._store.put_document(due.model_copy(update={"record": {**record, "next": self._now() + wait}}))
        )

    async def send(self, endpoint: WebhookEndpoint, event: Event) -> tuple[int | None, str | None]:
        """One attempt: the status it was answered with, or why there was no answer."""
        body, now = json.dumps(event.model_dump(mode="json"), separators=(",", ":")).encode(), int(self._now())
        try:
            status = await self._poster.post(endpoint.url, body, signed_headers(endpoint.in_use(now), event.id, now, body))
        except (StillhouseError, OSError, TimeoutError) as exc:
            return None, str(exc) or type(exc).__name__
        return status, None

    async def _end(self, due: Document, record: dict[str, object]) -> None:
        """Entered as ended before it is taken from what is due: in between a crash repeats it, which its id tells."""
        await asyncio.wrap_future(self._store.put_document(due.model_copy(update={"kind": DONE, "record": record})))
        await asyncio.wrap_future(self._store.delete_document(DUE, due.id))

    async def _sweep(self) -> None:
        oldest = await asyncio.to_thread(
            lambda: self._store.documents(DocumentQuery(kind=DONE, limit=AT_ONCE, order="asc")).items
        )
        for each in oldest:
            if self._now() - each.created > KEPT_SECONDS:
                await asyncio.wrap_future(self._store.delete_document(DONE, each.id))

    def _endpoints(self) -> list[WebhookEndpoint]:
        documents = self._store.documents(DocumentQuery(kind=ENDPOINT, limit=1000)).items
        return [WebhookEndpoint.model_validate(each.record, strict=False) for each in documents]

    def _endpoint(self, identifier: str) -> WebhookEndpoint | None:
        document = self._store.document(ENDPOINT, identifier)
        return None if document is None else WebhookEndpoint.model_validate(document.record, strict=False)

    def _known(self, identifier: str) -> bool:
        return any(self._store.document(kind, identifier) is not None for kind in (DUE, DONE))
