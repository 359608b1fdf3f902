"""An upstream whose answers are made by a function of the request: teachers that know, students that err, judges that judge."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from tests.fakes.upstream import FakeUpstream, Served, whole_body

PATIENCE_SECONDS = 120.0
Says = Callable[[dict[str, Any]], str]


class SpeakingUpstream(FakeUpstream):
    """`says(body)` is the text of the answer. While `gate` is cleared, answers wait."""

    def __init__(self, says: Says) -> None:
        super().__init__()
        self.says = says
        self.gate = threading.Event()
        self.gate.set()

    def __enter__(self) -> SpeakingUpstream:
        super().__enter__()
        return self

    def wait_for(self, count: int) -> None:
        """Until so many requests have come: of processes that first have to start."""
        with self.seen:
            assert self.seen.wait_for(lambda: len(self.ledger) >= count, PATIENCE_SECONDS)

    async def _whole(self, served: Served, fault: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        await asyncio.get_running_loop().run_in_executor(None, self.gate.wait, 30)
        body = whole_body(served.body, len(self.ledger))
        for choice in body["choices"]:
            choice["message"]["content"] = self.says(served.body)
        return await super()._whole(served, {**fault, "raw": json.dumps(body)}, writer)


def last_text(body: dict[str, Any]) -> str:
    """The text of a request's last message."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
