"""The other way to ask many things: files of requests that a provider answers within a day, for less (`/v1/batches`).

Same asks, same keys, same ledger, same budget as `asking`. A file is written down before it is sent, under a name of ours that
the provider is told; so a crash at any point finds the batch again, by its id or by that name, and none is made twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import orjson

from stillhouse.apply.asking import Ask, Outcome
from stillhouse.apply.budget import Amount
from stillhouse.apply.failures import kind_of
from stillhouse.apply.ledger import Entry, Ledger, Sent
from stillhouse.apply.patience import Sleep
from stillhouse.apply.tally import Tally
from stillhouse.chat import ChatRequest
from stillhouse.errors import UpstreamError
from stillhouse.files import write_atomic

MOST_REQUESTS = 50_000
"""In one file: OpenAI's limit."""
MOST_BYTES = 100 * 2**20
"""Of one file; OpenAI's limit is twice that."""
FIRST_POLL_SECONDS, POLL_SECONDS = 1.0, 30.0
"""Between two looks at a batch: half as much again each time, up to the second."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
TOGETHER = 500
"""Outcomes that are written with one wait for the disk."""
_BODY = b',"body":'


@runtime_checkable
class BatchServer(Protocol):
    """What `models.openai` can do besides chat. Every method raises UpstreamError."""

    async def upload(self, path: Path, purpose: str) -> str: ...

    async def create_batch(self, file: str, name: str) -> dict[str, Any]: ...

    async def batch(self, identifier: str) -> dict[str, Any]: ...

    async def find_batch(self, name: str) -> dict[str, Any] | None: ...

    def download(self, file: str) -> AsyncIterator[bytes]: ...


@dataclass
class Batching:
    """One go: `await Batching(server, ledger).all(make_asks)`."""

    server: BatchServer
    ledger: Ledger
    tally: Tally = field(default_factory=Tally)
    most_requests: int = MOST_REQUESTS
    sleep: Sleep = asyncio.sleep
    stop: Callable[[], bool] = lambda: False
    """Asked between two looks; what is at the provider's stays there, and is found by the next go."""
    out_of_budget: bool = False

    async def all(self, asks: Callable[[], Iterable[Ask]]) -> None:
        """Ask what is not answered yet, in as many files as it takes; what expired goes out again.

        Raises UpstreamError where a whole batch brings no answer.
        """
        while not self.stop():
            await self._send_all(asks())
            if not self.ledger.batches:
                return
            await self._collect_all()

    async def _send_all(self, asks: Iterable[Ask]) -> None:
        """Every unanswered ask that the budget covers is in a batch with an id."""
        for sent in list(self.ledger.batches.values()):
            if sent.id is None:
                await self._send(sent)
        out = {request_of(line)[0] for sent in self.ledger.batches.values() for line in self._lines(sent)}
        left = (ask for ask in asks if ask.key not in out and not self.ledger.answered(ask.key))
        while not self.out_of_budget and not self.stop():
            sent_now = await self._write(left, out)
            if sent_now is None:
                return
            await self._send(sent_now)

    async def _write(self, left: Iterator[Ask], out: set[str]) -> Sent | None:
        """The next file, set aside and on disk; None when there is nothing for it. Its keys are `out`, too, from here on."""
        lines, size, spent = [], 0, Amount()
        for ask in left:
            self.ledger.meter.require_text(self.ledger.purse.budget, ask.request)
            most = self.ledger.meter.bound(ask.request)
            if not self.ledger.purse.take(most):
                self.out_of_budget = True
                break
            out.add(ask.key)
            lines.append(line_of(ask))
            size, spent = size + len(lines[-1]), spent + most
            if len(lines) >= self.most_requests or size >= MOST_BYTES:
                break
        if not lines:
            return None
        sent = Sent(name=f"{self.ledger.path.stem}-{secrets.token_hex(8)}")
        await asyncio.to_thread(write_atomic, self._file(sent), b"".join(lines))
        await self.ledger.write(Entry(spent=spent, batch=sent))
        return sent

    async def _send(self, sent: Sent) -> None:
        """Its batch at the provider's, made now if a crash did not leave one."""
        batch = await self.server.find_batch(sent.name)
        if batch is None:
            file = await self.server.upload(self._file(sent), "batch")
            batch = await self.server.create_batch(file, sent.name)
        await self.ledger.write(Entry(batch=sent.model_copy(update={"id": str(batch.get("id"))})))

    async def _collect_all(self) -> None:
        """Wait for the batches one by one: they are all under way."""
        wait = FIRST_POLL_SECONDS
        for sent in list(self.ledger.batches.values()):
            while (batch := await self.server.batch(sent.id or "")).get("status") not in ENDED:
                await self._rest(wait)
                wait = min(wait * 1.5, POLL_SECONDS)
                if self.stop():
                    return
            await self._collect(sent, batch)

    async def _rest(self, seconds: float) -> None:
        """So long, or until somebody asks to stop."""
        while seconds > 0 and not self.stop():
            await self.sleep(min(seconds, FIRST_POLL_SECONDS))
            seconds -= FIRST_POLL_SECONDS

    async def _collect(self, sent: Sent, batch: dict[str, Any]) -> None:
        """Its answers in the ledger, what came back of what was set aside in the purse."""
        requests = dict(request_of(line) for line in self._lines(sent))
        for name in ("output_file_id", "error_file_id"):
            if batch.get(name):
                await self._keep(str(batch[name]), requests)
        unanswered = [request for key, request in requests.items() if not self.ledger.answered(key)]
        back = Amount()
        for request in unanswered:
            most = self.ledger.meter.bound(request)
            self.ledger.purse.settle(most, Amount())
            back -= most
        await self.ledger.write(Entry(spent=back, batch=sent.model_copy(update={"done": True})))
        self._file(sent).unlink(missing_ok=True)
        if len(unanswered) == len(requests):
            raise UpstreamError(f"Batch {sent.id} ended as '{batch.get('status')}' without an answer: {_why(batch)}")

    async def _keep(self, file: str, requests: dict[str, ChatRequest]) -> None:
        """Keep what a file of results brings, and is not kept already."""
        waiting: dict[str, asyncio.Task[None]] = {}
        async for line in self.server.download(file):
            outcome = outcome_of(line)
            if outcome is None or outcome.key not in requests or outcome.key in waiting or self.ledger.answered(outcome.key):
                continue
            waiting[outcome.key] = asyncio.create_task(self._settle(requests[outcome.key], outcome))
            if len(waiting) >= TOGETHER:
                await asyncio.gather(*waiting.values())
                waiting.clear()
        await asyncio.gather(*waiting.values())

    async def _settle(self, request: ChatRequest, outcome: Outcome) -> None:
        """One outcome in the ledger. A request that was turned away is paid for as a call."""
        if outcome.response is not None:
            await self.ledger.keep(Ask(outcome.key, request), outcome)
        else:
            most, used = self.ledger.meter.bound(request), Amount(calls=1)
            self.ledger.purse.settle(most, used)
            await self.ledger.write(Entry(spent=used - most, outcome=outcome))
        self.tally.count(asyncio.get_running_loop().time(), outcome.kind)

    def _lines(self, sent: Sent) -> Iterator[bytes]:
        with self._file(sent).open("rb") as file:
            yield from file

    def _file(self, sent: Sent) -> Path:
        return self.ledger.path.with_name(f"{sent.name}.batch.jsonl")


def line_of(ask: Ask) -> bytes:
    """A request as a line of a batch file; its body is the request's own bytes."""
    head = orjson.dumps({"custom_id": ask.key, "method": "POST", "url": "/v1/chat/completions"})
    return head[:-1] + _BODY + ask.request.raw.replace(b"\n", b" ") + b"}\n"


def request_of(line: bytes) -> tuple[str, ChatRequest]:
    """Key and request of such a line."""
    head, _, rest = line.partition(_BODY)
    return str(orjson.loads(head + b"}")["custom_id"]), ChatRequest(rest.rstrip(b"\n")[:-1])


def outcome_of(line: bytes) -> Outcome | None:
    """What a line of results says; None for one that says nothing (blank, or not of this form)."""
    try:
        value = orjson.loads(line)
        key, response = str(value["custom_id"]), value.get("response") or {}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    status, body = response.get("status_code"), response.get("body")
    if status == 200 and isinstance(body, dict) and not value.get("error"):
        return Outcome(key=key, body=orjson.dumps(body).decode())
    said = orjson.dumps(value.get("error") or body).decode()
    error = UpstreamError(f"The batch's answer is {status}: {said}", status=status if isinstance(status, int) else 500)
    return Outcome(key=key, error=str(error), kind=kind_of(error))


def _why(batch: dict[str, Any]) -> str:
    errors = batch.get("errors")
    found = errors.get("data") if isinstance(errors, dict) else None
    messages = [str(each.get("message")) for each in found or [] if isinstance(each, dict)]
    return "; ".join(messages[:3]) or "it does not say why"
