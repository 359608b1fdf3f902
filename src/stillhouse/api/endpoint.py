"""A route's endpoint: its policy checked, its handler called, every failure turned into OpenAI's envelope.

No route can be made without a policy: `App` refuses to start with an endpoint of another class.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from stillhouse.api.access import Access, Policy
from stillhouse.api.asgi import Call, ClientGoneError, Receive, Reply, Scope, Send
from stillhouse.api.errors import envelope, error_reply
from stillhouse.errors import StillhouseError

log = logging.getLogger(__name__)

Handler = Callable[[Call], Awaitable[Reply | None]]
"""Gives the reply, or None when it has sent a stream itself."""
Line = tuple[str, str, Handler, Policy]
"""A route: its method, its path, who handles it, who may call it."""


class Resource(Protocol):
    """One resource of the API: handlers, and the routes that lead to them."""

    def routes(self) -> Sequence[Line]: ...


class Endpoint:
    """An ASGI application for one route."""

    def __init__(self, handler: Handler, policy: Policy, access: Access) -> None:
        self.policy = policy
        self._handler = handler
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._access.check(self.policy, scope)
            reply = await self._handler(Call(scope, receive, send))
        except StillhouseError as exc:
            reply = error_reply(exc)
        except ClientGoneError:
            return
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            message = "The server failed on this request; its log says why."
            reply = Reply.of(envelope(message, 500, "internal_error"), 500)
        if reply is not None:
            if reply.status in (408, 413):
                reply.headers["connection"] = "close"  # the rest of the body is not read
            await reply.send(send)
