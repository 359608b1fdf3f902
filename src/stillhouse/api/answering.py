"""The routes that ask a model, by path: for whoever has requests and no client, a batch for one. No HTTP is spoken.

The handlers are the server's own, so a request is checked, routed, captured and answered alike, whichever way it came.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from stillhouse.api.asgi import Call, Reply
from stillhouse.api.chat_completions import Completions
from stillhouse.api.endpoint import Handler, Resource
from stillhouse.api.forwarding import Forwarding
from stillhouse.api.responses import Responses
from stillhouse.capture import Recorder
from stillhouse.routing import Router
from stillhouse.settings import Settings
from stillhouse.stores.base import Store

ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions")
"""Their paths."""


def asking_resources(router: Router, recorder: Recorder, store: Store, settings: Settings) -> list[Resource]:
    """Every resource whose POST asks a model."""
    return [
        Completions(router, recorder, settings.max_body_bytes),
        Responses(router, recorder, store, settings),
        Forwarding(router, recorder, settings.max_body_bytes),
    ]


def handlers_of(resources: list[Resource]) -> dict[str, Handler]:
    """The handler of each of `ENDPOINTS`."""
    lines = [line for resource in resources for line in resource.routes()]
    return {path: handler for method, path, handler, _ in lines if method == "POST" and path in ENDPOINTS}


async def reply_to(handler: Handler, path: str, body: bytes) -> Reply:
    """What a client would get for `body`, which asks for no stream. Raises as the handler does."""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        raise AssertionError(f"{path} sent a stream, which nobody asked for")

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "query_string": b"", "path_params": {}}
    reply = await handler(Call(scope, receive, send))
    assert reply is not None, "only streams send their answers themselves"
    return reply
