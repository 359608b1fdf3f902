"""Is the process alive, and can it keep what comes? Says no more than that."""

from __future__ import annotations

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.endpoint import Line
from stillhouse.capture import Recorder
from stillhouse.errors import StoreError


class Health:
    """Handlers of /healthz and /readyz."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def routes(self) -> list[Line]:
        return [
            ("GET", "/healthz", self.alive, Policy.KEY),
            ("GET", "/readyz", self.ready, Policy.KEY),
        ]

    async def alive(self, call: Call) -> Reply:
        return Reply.of({"status": "ok"})

    async def ready(self, call: Call) -> Reply:
        """503 while capture is refused (disk nearly full, too much in flight)."""
        try:
            self._recorder.admit()
        except StoreError as exc:
            return Reply.of({"status": "not ready", "reason": str(exc)}, 503)
        return Reply.of({"status": "ok"})
