"""`POST /api/writes`: how commands and workers on the same machine write while the server holds the database.

They send groups of named writes with the server's token; what a write does is the store's. After each group the server looks at
its models, routes and keys anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.endpoint import Line

MAX_GROUP_BYTES = 1024 * 2**20
"""An import's groups may be larger than any request of a client; only holders of the token get here."""

SERVED = (b"_upstream", b"_route", b"_key", b"_artifact")
"""Parts of the names of writes that change what is served, or to whom; looking once too often does no harm."""

Apply = Callable[[bytes], bytes]
"""Body of a group -> body of its outcomes, once it is durable; blocks."""


class Writes:
    """Handler."""

    def __init__(self, apply: Apply, changed: Callable[[], None]) -> None:
        self._apply = apply
        self._changed = changed

    def routes(self) -> list[Line]:
        return [
            ("POST", "/api/writes", self.post, Policy.SERVER),
        ]

    async def post(self, call: Call) -> Reply:
        body = await call.body(MAX_GROUP_BYTES)
        outcomes = await asyncio.to_thread(self._apply, body)
        if any(name in body for name in SERVED):
            self._changed()
        return Reply(200, outcomes)
