"""Requests of a batch -> answers: so many at a time, each durable as it comes, and the two files that they make.

Who answers is handed in. An answer is known by its line: what the journal holds is not asked again, so a batch that was killed
asks twice only what was under way. The files are written in the order in which the answers came.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import orjson

from stillhouse.apply import Journal, Limit, Patience, is_load, kind_of, together
from stillhouse.batch import BatchUsage
from stillhouse.errors import CaptureLostError, OverloadedError, StillhouseError, StoreError, UpstreamError
from stillhouse.formats.batch_requests import BatchRequest
from stillhouse.ids import new_id
from stillhouse.records import Record

_BREAKS = re.compile("[\x85\u2028\u2029]")
"""Allowed raw in JSON's strings, and line breaks to many a reader of lines."""


class Answer(Record):
    """What came of one line."""

    line: int
    id: str
    custom_id: str
    request_id: str
    status: int
    """HTTP's; 200 is an answer, everything else a failure."""
    body: str
    """JSON, as it came."""
    usage: BatchUsage = BatchUsage()

    @property
    def good(self) -> bool:
        return self.status == 200


Answering = Callable[[BatchRequest], Awaitable[Answer]]
"""Asks until there is an answer or no hope; never raises for a request that cannot be answered."""


def answers(journal: Journal[Answer]) -> Iterator[Answer]:
    """Those that are kept, in the order in which they came."""
    return (answer for _, answer in journal.scan())


@dataclass
class Counts:
    """What has come so far."""

    done: set[int] = field(default_factory=set)
    """Lines."""
    completed: int = 0
    failed: int = 0
    usage: BatchUsage = BatchUsage()

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> Counts:
        counts = cls()
        for answer in answers:
            counts.add(answer)
        return counts

    def add(self, answer: Answer) -> None:
        """One more."""
        self.done.add(answer.line)
        self.completed += answer.good
        self.failed += not answer.good
        self.usage += answer.usage


T = TypeVar("T")


@dataclass
class Trying:
    """One request after the other, each until it is answered or there is no hope; as many at a time as the upstream bears."""

    limit: Limit
    patience: Patience
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def until_answered(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns at last. Raises the StillhouseError it raised last, and whatever else it raises."""
        failures: Counter[bool] = Counter()
        while True:
            since = await self.limit.turn()
            try:
                answer = await attempt()
            except StillhouseError as error:
                self._release(error)
                throttled = _is_throttled(error)
                failures[throttled] += 1
                wait = self._wait(error, failures[throttled])
                if wait is None:
                    raise
                await self.sleep(wait)
            except BaseException:
                self.limit.left()
                raise
            else:
                self.limit.answered(since, {})
                return answer

    def _release(self, error: StillhouseError) -> None:
        if isinstance(error, UpstreamError | OverloadedError) and is_load(kind_of(error)):
            self.limit.refuse(error.headers if isinstance(error, UpstreamError) else {})
        else:
            self.limit.left()

    def _wait(self, error: StillhouseError, attempt: int) -> float | None:
        """Seconds; None when it is not to be asked again: what is refused stays so, what was lost would be paid for twice."""
        if isinstance(error, UpstreamError | OverloadedError):
            return self.patience.wait(error, attempt)
        if isinstance(error, StoreError) and not isinstance(error, CaptureLostError):  # nothing was asked yet: it may come back
            return min(self.patience.longest_wait, 2.0 ** (attempt - 1)) if attempt < self.patience.attempts else None
        return None


def _is_throttled(error: StillhouseError) -> bool:
    return isinstance(error, UpstreamError | OverloadedError) and kind_of(error) == "throttled"


async def answer_all(
    requests: Iterable[BatchRequest], ask: Answering, journal: Journal[Answer], counts: Counts, *, concurrency: int
) -> None:
    """Ask what `counts` has not; every answer is in the journal before the next request is asked in its place.

    `requests` is read as it is needed. When the caller cancels, requests under way are cancelled and are not answered.
    """
    left = (request for request in requests if request.line not in counts.done)

    async def work() -> None:
        for request in left:
            answer = await ask(request)
            writing = asyncio.ensure_future(asyncio.to_thread(journal.add, answer))
            try:
                await asyncio.shield(writing)
            finally:  # cancelled, too: a thread cannot be, and whoever reads the journal next must find what it writes
                await writing
                counts.add(answer)

    await together([work() for _ in range(max(1, concurrency))])


def output_lines(answers: Iterable[Answer]) -> Iterator[bytes]:
    """The file of answers."""
    return (_line(answer) for answer in answers if answer.good)


def error_lines(answers: Iterable[Answer], unasked: Iterable[BatchRequest], code: str, message: str) -> Iterator[bytes]:
    """The file of failures; lines that were not asked any more have `code` and `message` for an error."""
    yield from (_line(answer) for answer in answers if not answer.good)
    error = {"code": code, "message": message}
    for request in unasked:
        row = {"id": new_id("batch_req"), "custom_id": request.custom_id, "response": None, "error": error}
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _line(answer: Answer) -> bytes:
    """The answer's own bytes stay as they came: what it said of numbers and characters is not read and written again."""
    said = answer.body.replace("\r", " ").replace("\n", " ")  # white space: within strings JSON has neither
    said = _BREAKS.sub(lambda found: f"\\u{ord(found.group()):04x}", said)
    head = {"id": answer.id, "custom_id": answer.custom_id}
    response = {"status_code": answer.status, "request_id": answer.request_id}
    return b'%b,"response":%b,"body":%b},"error":null}\n' % (
        orjson.dumps(head)[:-1],
        orjson.dumps(response)[:-1],
        said.encode("utf-8", "replace"),
    )
