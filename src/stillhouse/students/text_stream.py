"""Tokens in, text out, as they come: never half a character, never past a stop string. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

HALF = "\ufffd"
"""What a decoder writes for bytes that are not a whole character (yet)."""


class TextStream:
    """The growing text of one choice.

    Only the last few tokens are decoded at each step: from the last border at which the text was whole. The tokens before that
    border are decoded once more as context, because a tokenizer may write a token differently at the start of a text.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = stops
        self._hold = max((len(stop) for stop in stops), default=1) - 1
        self._context: list[int] = []
        self._fresh: list[int] = []
        self._written = ""
        """Text of `_context`, which has been taken in already."""
        self._pending = ""
        """Text that is whole, but could be the beginning of a stop string."""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is certain now and was not before. Sets `stopped` when a stop string came; it is left out."""
        self._fresh.append(token)
        text = self._decode([*self._context, *self._fresh])
        if text.endswith(HALF):
            return ""
        return self._take(text)

    def end(self) -> str:
        """What is left when no token will follow; half characters are written as U+FFFD."""
        if self.stopped:
            return ""
        text = self._decode([*self._context, *self._fresh]) if self._fresh else self._written
        self._hold = 0
        return self._take(text)

    def _take(self, text: str) -> str:
        new = text[len(self._written) :]
        if self._fresh:
            self._context, self._fresh = self._fresh, []
            self._written = self._decode(self._context)
        self._pending += new
        cut = min((at for stop in self._stops if (at := self._pending.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self.stopped = True
            certain, self._pending = self._pending[:cut], ""
            return certain
        border = self._border()
        certain, self._pending = self._pending[:border], self._pending[border:]
        return certain

    def _border(self) -> int:
        """Where the longest tail begins that a stop string begins with."""
        length = len(self._pending)
        for begin in range(max(0, length - self._hold), length):
            tail = self._pending[begin:]
            if any(stop.startswith(tail) for stop in self._stops):
                return begin
        return length
