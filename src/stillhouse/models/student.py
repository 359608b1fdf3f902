"""A student as a ChatModel: a child process that holds the weights, and the bounded queue in front of it.

Here are the child's life and the tickets of who waits; its frames stand in `student_process`, OpenAI's shapes in
`student_answers`. Tokens and batches are the child's (`stillhouse.students.worker`, named by its module name only, so that no
torch gets into the server). A child that dies fails the requests it had and is started again. One instance belongs to one event
loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

from stillhouse.chat import ChatRequest, ChatResponse, Chunk
from stillhouse.errors import OverloadedError, StreamBrokenError, UsageError
from stillhouse.generation import Generation, Piece, read_generation
from stillhouse.models.student_answers import body_of, choice, closing, opening, refusal, unavailable, usage
from stillhouse.models.student_process import end, kill, read_frame, send_frame

WORKER = "stillhouse.students.worker"
DEATHS_PER_MINUTE = 6
"""After so many deaths within a minute a student is not started again until the minute is over."""
LOAD_SECONDS = 300.0
DIED = "The student's process died."

Event = Piece | Exception


class StudentModel:
    """Answers with the artifact in `folder`. The child starts with the first request, or with `warm`.

    `batch` choices are answered at once and `queue` more may wait; past that, OverloadedError. `threads`
    are torch's, 0: all cores but one.
    """

    def __init__(self, folder: Path, *, model_id: str, queue: int = 64, batch: int = 16, threads: int = 0) -> None:
        self.model_id = model_id
        self._command = (sys.executable, "-m", WORKER, str(folder), "--batch", str(batch), "--threads", str(threads))
        self._capacity = queue + batch
        self._batch = batch
        self._taken = 0
        """Choices accepted and not ended."""
        self._seconds = 1.0
        """How long an answer takes: an average that forgets."""
        self._tickets: dict[int, asyncio.Queue[Event]] = {}
        self._next_ticket = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._deaths: deque[float] = deque(maxlen=DEATHS_PER_MINUTE)
        self._closed = False
        self._retired = False
        self._leaving: set[asyncio.Task[None]] = set()
        """Listening to children that were let go."""

    # -- ChatModel -------------------------------------------------------------------------------------------------------

    async def complete(self, request: ChatRequest) -> ChatResponse:
        """Raises UsageError, OverloadedError, UpstreamError (503: the child died or cannot start)."""
        generation = read_generation(request).model_copy(update={"stream": False})
        async with contextlib.aclosing(self._pieces(generation)) as pieces:
            ended = {piece.choice: piece async for piece in pieces}
        body = body_of(self.model_id, "chat.completion")
        body["choices"] = [choice(ended[index], "message") for index in sorted(ended)]
        body["usage"] = usage(ended)
        return ChatResponse.build(body)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """As `complete`; StreamBrokenError when the child dies midway. Closing the iterator frees the request's slots."""
        generation = read_generation(request).model_copy(update={"stream": True})
        options = request.body.get("stream_options")
        with_usage = isinstance(options, dict) and options.get("include_usage") is True
        body = body_of(self.model_id, "chat.completion.chunk") | ({"usage": None} if with_usage else {})
        latest: dict[int, Piece] = {}
        async with contextlib.aclosing(self._pieces(generation)) as pieces:
            async for piece in pieces:
                if piece.choice not in latest:
                    yield Chunk.build(body | {"choices": [opening(piece.choice)]})
                latest[piece.choice] = piece
                if piece.text or piece.logprobs:
                    yield Chunk.build(body | {"choices": [choice(piece, "delta")]})
                if piece.finish is not None:
                    yield Chunk.build(body | {"choices": [closing(piece)]})
        if with_usage:
            yield Chunk.build(body | {"choices": [], "usage": usage(latest)})
        yield Chunk.done()

    async def close(self) -> None:
        """Kill the child and wait until it is gone. What is under way fails."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._process is not None:
            await end(self._process)
        await asyncio.gather(*self._leaving, *([] if self._reader is None else [self._reader]))

    def retire(self) -> None:
        """No name leads here any more: the child ends with the last request under way. One that comes late starts it again."""
        self._retired = True
        self._let_go()

    # -- the child -------------------------------------------------------------------------------------------------------

    async def warm(self) -> None:
        """Start the child and wait until its weights are loaded. Raises UpstreamError."""
        await self._child()

    async def check(self) -> None:
        """Let it say one token. Raises UpstreamError, OverloadedError when it cannot."""
        await self.complete(
            ChatRequest.build(self.model_id, [{"role": "user", "content": "?"}], max_completion_tokens=1, temperature=0)
        )

    @property
    def pid(self) -> int | None:
        """Of the child, None while there is none."""
        return None if self._process is None else self._process.pid

    async def _child(self) -> asyncio.subprocess.Process:
        """The running child; started if there is none. Several callers share one start."""
        if self._process is not None:
            return self._process
        return await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[asyncio.subprocess.Process]:
        """The one start under way."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return self._starting

    def _started(self, task: asyncio.Task[asyncio.subprocess.Process]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # looked at here, so that a restart nobody waits for does not complain

    async def _start(self) -> asyncio.subprocess.Process:
        if self._closed:
            raise unavailable("The student was closed.")
        await self._back_off()
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *("--parent", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )
        try:
            first = await asyncio.wait_for(read_frame(process), LOAD_SECONDS)
            if "ready" not in first:
                raise unavailable(f"The student could not be loaded: {first.get('fatal')}")
        except BaseException as exc:
            self._deaths.append(time.monotonic())
            await end(process)
            if isinstance(exc, (asyncio.IncompleteReadError, TimeoutError)):
                raise unavailable("The student's process ended, or hung, while it was loading; its log says why.") from exc
            raise
        self._process = process
        self._reader = asyncio.create_task(self._listen(process))
        return process

    async def _back_off(self) -> None:
        """Wait a little longer after each recent death. Raises UpstreamError after too many."""
        now = time.monotonic()
        recent = [death for death in self._deaths if now - death < 60]
        if len(recent) >= DEATHS_PER_MINUTE:
            raise unavailable("The student's process dies again and again; it is tried again within a minute.", retry_after=60)
        if len(recent) > 1:
            await asyncio.sleep(min(0.25 * 2 ** len(recent), 5.0))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Hand out what the child says until it dies; then fail its requests and start another, unless somebody has."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self._dispatch(await read_frame(process))
        if process is not self._process:  # it was let go: nobody waits for it
            await end(process)
            return
        self._process = None
        self._deaths.append(time.monotonic())
        for events in self._tickets.values():  # at once: from the next await on, tickets may be another child's
            events.put_nowait(StreamBrokenError(DIED, status=503))
        await end(process)
        if not (self._closed or self._retired) and self._process is None:
            self._begin()

    def _let_go(self) -> None:
        """End the child of a retired model that has nothing to do."""
        if not self._retired or self._taken or self._process is None or self._reader is None:
            return
        process, self._process = self._process, None
        self._leaving.add(self._reader)
        self._reader.add_done_callback(self._leaving.discard)
        self._reader = None
        kill(process)

    def _dispatch(self, frame: dict[str, Any]) -> None:
        for fields in frame.get("pieces", ()):
            piece = Piece(*fields)
            if piece.ticket in self._tickets:
                self._tickets[piece.ticket].put_nowait(piece)
        if frame.get("refused") in self._tickets:
            self._tickets[frame["refused"]].put_nowait(refusal(frame))

    # -- requests --------------------------------------------------------------------------------------------------------

    async def _pieces(self, generation: Generation) -> AsyncGenerator[Piece, None]:
        """The pieces of one request until every choice has ended; abandoning it frees its slots."""
        self._admit(generation.n)
        ticket = self._next_ticket = self._next_ticket + 1
        begun, ended = time.monotonic(), 0
        begun_to_stream = False
        process = None
        try:
            process = await self._child()
            if process is not self._process:  # it died between its first word and this one
                raise unavailable(DIED)
            events = self._tickets[ticket] = asyncio.Queue()
            send_frame(process, {"ask": ticket, "generation": generation.model_dump(mode="json")})
            while ended < generation.n:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event if begun_to_stream or not isinstance(event, StreamBrokenError) else unavailable(str(event))
                begun_to_stream = generation.stream
                ended += event.finish is not None
                yield event
            self._seconds += 0.1 * (time.monotonic() - begun - self._seconds)
        finally:
            self._taken -= generation.n
            self._tickets.pop(ticket, None)
            if ended < generation.n and process is not None and process is self._process:
                send_frame(process, {"abort": ticket})
            self._let_go()

    def _admit(self, choices: int) -> None:
        if choices > self._capacity:  # waiting would not help
            raise UsageError(
                f"n = {choices}: the student '{self.model_id}' takes at most {self._capacity} answers at once, waiting ones "
                "included. Ask for fewer."
            )
        if self._taken + choices > self._capacity:
            wait = max(1.0, self._seconds)
            raise OverloadedError(
                f"The student '{self.model_id}' has {self._taken} answers under way or waiting, of {self._capacity} at most. "
                f"Try again in {wait:.0f} s.",
                retry_after=wait,
            )
        self._taken += choices
