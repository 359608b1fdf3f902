"""How an answer ended, told from its bytes alone: complete, truncated, malformed or failed.

The one place that decides what counts as a label. An answer is complete only if every choice that was asked for has a finish
reason and, in a stream, the end marker came as a whole event. No I/O, so a test can cut every stream at every byte.
"""

from __future__ import annotations

from stillhouse.chat import ChatResponse, Chunk, Usage
from stillhouse.completion import State


class Ending:
    """Watches the events of one stream pass."""

    def __init__(self, choices: int) -> None:
        self.choices = choices
        self.done = False
        self.finish_reasons: dict[int, str] = {}
        self.usage = Usage()
        self.upstream_id: str | None = None
        self._malformed: str | None = None
        self._error: str | None = None

    @property
    def all_finished(self) -> bool:
        """Whether every choice that was asked for has its finish reason: what follows would make a client believe the end."""
        return len(self.finish_reasons) >= self.choices and all(index in self.finish_reasons for index in range(self.choices))

    @property
    def finish_reason(self) -> str | None:
        return self.finish_reasons.get(0)

    def see(self, chunk: Chunk) -> None:
        """Take note of the next event."""
        if chunk.is_done:
            self.done = True
            return
        body = chunk.body
        if chunk.malformed:
            wrong = "an event is not a JSON object" if body is None else "a choice's index is no whole number"
            self._malformed = self._malformed or f"{wrong}: {(chunk.data or b'')[:80]!r}"
        if body is None:
            return
        if body.get("error"):
            self._error = self._error or f"the upstream sent an error: {str(body['error'])[:200]}"
        if body.get("usage"):
            self.usage = Usage.of(body)
        if self.upstream_id is None and isinstance(body.get("id"), str):
            self.upstream_id = body["id"]
        self.finish_reasons.update(chunk.finish_reasons)

    def verdict(self) -> tuple[State, str | None]:
        """The state, and why it is not `complete`."""
        if self._error:
            return "failed", self._error
        if self._malformed:
            return "malformed", self._malformed
        if not self.all_finished:
            missing = sorted(set(range(self.choices)) - set(self.finish_reasons))
            return "truncated", f"the stream ended without a finish reason for choice {', '.join(map(str, missing))}"
        return ("complete", None) if self.done else ("truncated", "the stream ended without its end marker")


def judge(response: ChatResponse, choices: int) -> tuple[State, str | None]:
    """The same for a whole body."""
    if not response.body:
        return "malformed", f"the body is not a JSON object: {response.raw[:80]!r}"
    answered = response.choices
    if len(answered) < choices or not all(isinstance(choice.get("message"), dict) for choice in answered):
        return "malformed", f"the body has {len(answered)} whole choices, {choices} were asked for"
    unfinished = [str(index) for index, choice in enumerate(answered) if not isinstance(choice.get("finish_reason"), str)]
    return ("truncated", f"no finish reason for choice {', '.join(unfinished)}") if unfinished else ("complete", None)
