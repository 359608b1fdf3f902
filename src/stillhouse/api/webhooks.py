"""Webhook endpoints as the SDK speaks them: who is told when a job, an eval's run or a batch has ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pydantic import BaseModel

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import parse_body, parse_value
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.pages import MAX_PAGE, PageQuery, list_body
from stillhouse.document import Document
from stillhouse.errors import InvalidParameterError, NotFoundError, UpstreamError
from stillhouse.ids import new_id
from stillhouse.stores.base import DocumentStore
from stillhouse.webhook import EVENT_TYPES, PREFIX, Event, WebhookEndpoint, new_secret
from stillhouse.webhooks import Outbox, Poster
from stillhouse.webhooks.outbox import ENDPOINT
from stillhouse.webhooks.posting import ForbiddenAddressError

ALL = "/v1/webhook_endpoints"
ONE = ALL + "/{webhook_endpoint_id}"
MAX_BODY_BYTES = 64 * 1024
OLD_SECRET_SECONDS = 24 * 3600


class Creation(BaseModel):
    name: str
    url: str
    event_types: list[str]


class Changes(BaseModel):
    name: str | None = None
    url: str | None = None
    event_types: list[str] | None = None


class Rotation(BaseModel):
    keep_old_secret_active_for_24_hours: bool = False


class Trial(BaseModel):
    event_type: str


class WebhookEndpoints:
    """Handlers."""

    def __init__(self, store: DocumentStore, outbox: Outbox, poster: Poster) -> None:
        self._store = store
        self._outbox = outbox
        self._poster = poster

    def routes(self) -> list[Line]:
        return [
            ("GET", "/v1/webhook_event_types", self.event_types, Policy.KEY),
            ("POST", ALL, self.create, Policy.KEY),
            ("GET", ALL, self.list, Policy.KEY),
            ("GET", ONE, self.retrieve, Policy.KEY),
            ("POST", ONE, self.update, Policy.KEY),
            ("DELETE", ONE, self.delete, Policy.KEY),
            ("POST", ONE + "/rotate_secret", self.rotate, Policy.KEY),
            ("POST", ONE + "/test", self.test, Policy.KEY),
        ]

    async def event_types(self, call: Call) -> Reply:
        return Reply.of({"object": "list", "data": list(EVENT_TYPES)})

    @takes(Creation)
    async def create(self, call: Call) -> Reply:
        asked = parse_body(Creation, await call.body(MAX_BODY_BYTES))
        now = int(time.time())
        made = {"id": new_id("wh"), "created_at": now, "updated_at": now, "secrets": (new_secret(),)}
        endpoint = self._checked({**asked.model_dump(), **made})
        await self._keep(endpoint)
        return Reply.of(_shown(endpoint, with_secret=True))

    @takes(most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        page = PageQuery(call.query, order="desc")
        found = await asyncio.to_thread(self._store.documents, page.documents(ENDPOINT))
        return Reply.of(list_body([_shown(_endpoint_of(each)) for each in found.items], has_more=found.has_more))

    async def retrieve(self, call: Call) -> Reply:
        return Reply.of(_shown(await self._found(call)))

    @takes(Changes, required=False)
    async def update(self, call: Call) -> Reply:
        asked = parse_body(Changes, await call.body(MAX_BODY_BYTES)).model_dump(exclude_none=True)
        endpoint = await self._found(call)
        changed = self._checked({**endpoint.model_dump(), **asked})
        if changed != endpoint:
            changed = changed.model_copy(update={"updated_at": int(time.time())})
            await self._keep(changed)
        return Reply.of(_shown(changed))

    async def delete(self, call: Call) -> Reply:
        endpoint = await self._found(call)
        await asyncio.wrap_future(self._store.delete_document(ENDPOINT, endpoint.id))
        return Reply.of({"object": "webhook_endpoint.deleted", "id": endpoint.id, "deleted": True})

    @takes(Rotation, required=False)
    async def rotate(self, call: Call) -> Reply:
        asked = parse_body(Rotation, await call.body(MAX_BODY_BYTES))
        endpoint, now = await self._found(call), int(time.time())
        old = endpoint.secrets[:1] if asked.keep_old_secret_active_for_24_hours else ()
        until = now + OLD_SECRET_SECONDS if old else None
        changed = endpoint.model_copy(update={"secrets": (new_secret(), *old), "old_until": until, "updated_at": now})
        await self._keep(changed)
        return Reply.of(_shown(changed, with_secret=True))

    @takes(Trial)
    async def test(self, call: Call) -> Reply:
        asked = parse_body(Trial, await call.body(MAX_BODY_BYTES))
        if asked.event_type not in EVENT_TYPES:
            raise InvalidParameterError(f"'event_type' must be one of {', '.join(EVENT_TYPES)}.", "event_type")
        endpoint = await self._found(call)
        event = Event(id=new_id("evt"), type=asked.event_type, created_at=int(time.time()), data={"id": "test"})
        status, error = await self._outbox.send(endpoint, event)
        if status is None:
            raise UpstreamError(f"The endpoint gave no answer: {error}")
        named = {"webhook_endpoint_id": endpoint.id, "event_type": asked.event_type}
        return Reply.of({"object": "webhook_endpoint.test", "success": True, "status_code": status, **named})

    def _checked(self, fields: dict[str, Any]) -> WebhookEndpoint:
        endpoint = parse_value(WebhookEndpoint, fields)
        try:
            self._poster.check(endpoint.url)
        except ForbiddenAddressError as exc:
            raise InvalidParameterError(str(exc), "url") from exc
        return endpoint

    async def _keep(self, endpoint: WebhookEndpoint) -> None:
        record = endpoint.model_dump(mode="json")
        document = Document(kind=ENDPOINT, id=endpoint.id, created=endpoint.created_at, record=record)
        await asyncio.wrap_future(self._store.put_document(document))

    async def _found(self, call: Call) -> WebhookEndpoint:
        identifier = call.path_parameter("webhook_endpoint_id")
        document = await asyncio.to_thread(self._store.document, ENDPOINT, identifier)
        if document is None:
            raise NotFoundError(f"There is no webhook endpoint '{identifier[:80]}'.")
        return _endpoint_of(document)


def _endpoint_of(document: Document) -> WebhookEndpoint:
    return WebhookEndpoint.model_validate(document.record, strict=False)


def _shown(endpoint: WebhookEndpoint, *, with_secret: bool = False) -> dict[str, Any]:
    """The newest secret is shown when it is made, and never again."""
    shown = endpoint.model_dump(mode="json", exclude={"secrets", "old_until"})
    secret = endpoint.secrets[0]
    hint = f"{PREFIX}...{secret[-4:]}"
    return {
        **shown,
        "object": "webhook_endpoint",
        "signing_secret_hint": hint,
        **({"signing_secret": secret} if with_secret else {}),
    }
