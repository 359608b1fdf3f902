"""The book of one labelling: what was set aside before each request, what came back, what it used. On disk before anything else.

One file, appended: a line before a request is sent, a line when it came back. In memory is where each answer begins (about 150
bytes a question), never an answer. What waits to be written is written together, with one wait for the disk, and sums of money
that wait are one sum. After a crash, what was set aside and did not come back belongs to requests that were under way: it stays
spent, since nobody knows what became of them, and they are asked again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from stillhouse.apply.asking import Ask, Outcome
from stillhouse.apply.budget import Amount, Budget, Meter, Purse
from stillhouse.apply.failures import Kind, is_unbilled
from stillhouse.apply.journal import Journal
from stillhouse.records import Record

AT_ONCE = 1000
"""Keys in one line."""
GAP_SECONDS = 0.01
"""Between two writes: a hundred waits for the disk a second serve any number of answers, and leave the processor to these."""


class Sent(Record):
    """Requests that go to the provider as one file, see `batches`; the newest line of a name counts."""

    name: str
    """Ours: under it the provider knows the batch, too, and the file of its requests lies beside the ledger."""
    id: str | None = None
    """The provider's; None: it may have been made, or not."""
    done: bool = False


class Entry(Record):
    """A line: what it changes of what is spent, and how a question ended."""

    spent: Amount = Amount()
    """Added to what was spent before; negative where less was used than was set aside."""
    outcome: Outcome | None = None
    again: tuple[str, ...] = ()
    """Keys that are not answered any more: somebody wants them asked again."""
    batch: Sent | None = None


class Ledger:
    """`Keeping` on disk, for one process at a time. Use it in a `with` block, all of it in one event loop."""

    def __init__(self, path: Path, budget: Budget | None = None, meter: Meter | None = None) -> None:
        """Raises ConflictError while another process holds it."""
        self.meter = meter or Meter()
        self.purse = Purse(budget or Budget())
        self.failed: Counter[str] = Counter()
        """Kind -> questions given up."""
        self.batches: dict[str, Sent] = {}
        """By name, those that are not done."""
        self._journal = Journal(path, Entry)
        self._answers: dict[bytes, int] = {}
        self._failures: dict[bytes, tuple[int, str]] = {}
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._written = float("-inf")
        for begin, entry in self._journal.scan():
            self._enter(entry, begin)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._journal:
            if self._waiting:  # what is given back, and nobody waits for
                self._journal.extend(_lines([entry for entry, _ in self._waiting]))

    @property
    def path(self) -> Path:
        return self._journal.path

    @property
    def answers(self) -> int:
        """How many questions are answered."""
        return len(self._answers)

    @property
    def spent(self) -> Amount:
        return self.purse.spent

    @property
    def given_up(self) -> list[str]:
        """Keys of the questions that failed for good."""
        found = [self._journal.read(begin).outcome for begin, _ in self._failures.values()]
        return [outcome.key for outcome in found if outcome is not None]

    def answered(self, key: str) -> bool:
        """Whether it has an answer, or was given up."""
        name = _short(key)
        return name in self._answers or name in self._failures

    def outcome(self, key: str) -> Outcome | None:
        """How a question ended; None where it has not."""
        name = _short(key)
        begin = self._failures[name][0] if name in self._failures else self._answers.get(name)
        return None if begin is None else self._journal.read(begin).outcome

    def ask_again(self, keys: Sequence[str]) -> None:
        """Forget how these ended, so that they are asked again; what they cost stays spent."""
        for start in range(0, len(keys), AT_ONCE):
            entry = Entry(again=tuple(keys[start : start + AT_ONCE]))
            self._enter(entry, self._journal.extend([entry])[0])

    async def set_aside(self, ask: Ask) -> bool:
        self.meter.require_text(self.purse.budget, ask.request)
        most = self.meter.bound(ask.request)
        if not await self.purse.set_aside(most):
            return False
        await self.write(Entry(spent=most))
        return True

    async def give_back(self, ask: Ask, kind: Kind) -> None:
        """Tokens and money come back where the request was turned away before any work; the call was made all the same."""
        most = self.meter.bound(ask.request)
        used = Amount(calls=1) if is_unbilled(kind) else most
        self.purse.settle(most, used)
        if used != most:
            self._post(Entry(spent=used - most))  # lost in a crash, it only stays spent

    async def keep(self, ask: Ask, outcome: Outcome) -> None:
        response = outcome.response
        used = most = self.meter.bound(ask.request)
        if response is not None:
            seconds = None if outcome.latency_ms is None else outcome.latency_ms / 1000
            used = self.meter.used(response, most, seconds)
            self.purse.settle(most, used)
        await self.write(Entry(spent=used - most, outcome=outcome))

    async def write(self, entry: Entry) -> None:
        """Returns when it is on disk, and counted."""
        await self._post(entry)

    def drop(self) -> None:
        """The labelling is over, and nothing of it is left to do."""
        self._journal.drop()

    def _post(self, entry: Entry) -> asyncio.Future[None]:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        return written

    async def _write_all(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            while self._waiting:
                await asyncio.sleep(self._written + GAP_SECONDS - now())
                self._written = now()
                group, self._waiting = self._waiting, []
                await self._write_group(group)
        finally:
            self._writer = None

    async def _write_group(self, group: list[tuple[Entry, asyncio.Future[None]]]) -> None:
        lines = _lines([entry for entry, _ in group])
        try:
            begins = await asyncio.to_thread(self._journal.extend, lines)
        except BaseException as exc:
            for _, written in group:
                if not written.done():
                    written.set_exception(exc)
                    written.exception()  # nobody may be waiting for it
            return
        for entry, begin in zip(lines, begins, strict=True):
            self._enter(entry, begin, counted=True)
        for _, written in group:
            if not written.done():
                written.set_result(None)

    def _enter(self, entry: Entry, begin: int, *, counted: bool = False) -> None:
        """`counted`: what it spent stands in the purse already."""
        if not counted:
            self.purse.spent += entry.spent
        for key in entry.again:
            self._forget(_short(key))
        if entry.batch is not None:
            self.batches[entry.batch.name] = entry.batch
            if entry.batch.done:
                del self.batches[entry.batch.name]
        outcome = entry.outcome
        if outcome is not None and outcome.error is None:
            self._forget(_short(outcome.key))
            self._answers[_short(outcome.key)] = begin
        elif outcome is not None:
            self._forget(_short(outcome.key))
            self._failures[_short(outcome.key)] = begin, outcome.kind or "refused"
            self.failed[outcome.kind or "refused"] += 1

    def _forget(self, name: bytes) -> None:
        self._answers.pop(name, None)
        _, kind = self._failures.pop(name, (0, None))
        if kind is not None:
            self.failed[kind] -= 1


def _short(key: str) -> bytes:
    return bytes.fromhex(key[:32])


def _lines(entries: Sequence[Entry]) -> list[Entry]:
    """Those that only spend as one, before the others: a crash between two lines leaves more set aside, never less."""
    others = [entry for entry in entries if entry.outcome or entry.again or entry.batch]
    spent = [entry.spent for entry in entries if not (entry.outcome or entry.again or entry.batch)]
    return [Entry(spent=sum(spent[1:], spent[0])), *others] if spent else others
