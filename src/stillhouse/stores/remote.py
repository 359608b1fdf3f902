"""Writes through the live server: one HTTP request a group, kept-alive, and the server's side of it.

Every write carries an id that the server records with its effect, in one transaction: a group whose answer got lost is simply
sent again, to this server, the next one, or the database itself.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from stillhouse.errors import StoreError, UsageError
from stillhouse.stores import wire
from stillhouse.stores.lock import ServerNote
from stillhouse.stores.writer import Outcome, Write
from stillhouse.stores.writes import OPERATIONS

WRITES_PATH = "/api/writes"
MAX_REQUEST_BYTES = 8 * 2**20
_TIMEOUT_SECONDS = 60.0
_REFUSED = (400, 413)


class ServerGoneError(Exception):
    """Nobody answered as the server of the note would: it died, or is another one by now. Never leaves `stores`."""


class RemoteServer:
    """A connection to the live server, for one thread."""

    def __init__(self, note: ServerNote) -> None:
        self.note = note
        self._prefix = urlsplit(note.url).path.rstrip("/")
        address = urlsplit(note.url)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(address.hostname or "127.0.0.1", address.port, timeout=_TIMEOUT_SECONDS)

    def apply(self, writes: Sequence[Write]) -> list[Outcome]:
        """Send a group and wait until it is on the server's disk. Raises ServerGoneError when the outcome is unknown."""
        encoded = [_encode(write) for write in writes]
        outcomes = [item if isinstance(item, Outcome) else None for item in encoded]
        for places in _parts([len(item) if isinstance(item, bytes) else None for item in encoded]):
            answers = self._send([item for place in places if isinstance(item := encoded[place], bytes)])
            for place, answer in zip(places, answers, strict=True):
                outcomes[place] = answer
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        self._connection.close()

    def _send(self, writes: Sequence[bytes]) -> list[Outcome]:
        body = b'{"writes":[' + b",".join(writes) + b"]}"
        headers = {"authorization": f"Bearer {self.note.token}", "content-type": "application/json"}
        try:
            self._connection.request("POST", self._prefix + WRITES_PATH, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as exc:
            self._connection.close()
            raise ServerGoneError(str(exc)) from exc
        if response.status in _REFUSED:  # by what the group is: another try would end the same
            refused = StoreError(f"The server at {self.note.url} refused a write: {content[:500].decode('utf-8', 'replace')}")
            return [Outcome(error=refused)] * len(writes)
        if response.status != 200:
            raise ServerGoneError(f"{response.status} {content[:200]!r}")
        return [_outcome(result) for result in wire.loads(content)["results"]]


def _encode(write: Write) -> bytes | Outcome:
    """The write as JSON; or how it ended, when it holds something that JSON cannot."""
    try:
        return wire.dumps({"id": write.id, "name": write.name, "arguments": write.arguments})
    except (TypeError, ValueError) as exc:
        return Outcome(error=StoreError(f"This {write.name.replace('_', ' ')} cannot be kept: {exc}."))


def _parts(sizes: Sequence[int | None]) -> Iterator[list[int]]:
    """Places of writes that go into one request, within the server's cap on bodies; one write alone is never split."""
    part: list[int] = []
    total = 0
    for place, size in enumerate(sizes):
        if size is None:
            continue
        if part and total + size > MAX_REQUEST_BYTES:
            yield part
            part, total = [], 0
        part.append(place)
        total += size
    if part:
        yield part


class _Submits(Protocol):
    def submit(self, name: str, arguments: dict[str, Any], id: str | None = None) -> Future[Any]: ...


def apply_remote_writes(store: _Submits, body: bytes) -> bytes:
    """The server's side of POST /api/writes: apply a group, wait until it is durable, answer the outcomes. Blocks: use a thread.

    Who may ask is the caller's to check (the token of `SqlStore.publish`). Raises UsageError for any other body.
    """
    try:
        writes = wire.loads(body)["writes"]
        named = [(write["name"], write["arguments"], write["id"]) for write in writes]
    except (orjson.JSONDecodeError, KeyError, TypeError) as exc:
        raise UsageError(f"Expected a group of writes: {exc!r}.") from exc
    unknown = sorted({str(name) for name, _, _ in named} - OPERATIONS.keys())
    if unknown:
        raise UsageError(f"There is no write named {', '.join(unknown)}. Is the command of another version than the server?")
    return wire.dumps({"results": [_result(future) for future in [store.submit(*write) for write in named]]})


def _result(future: Future[Any]) -> dict[str, Any]:
    error = future.exception()
    return {"value": future.result()} if error is None else {"error": wire.error_to_json(error)}


def _outcome(result: dict[str, Any]) -> Outcome:
    return Outcome(error=wire.error_from_json(result["error"])) if "error" in result else Outcome(result.get("value"))
