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
        outcomes: list[Outcome] = []
        for part in _parts(writes):
            outcomes.extend(self._send(part))
        return outcomes

    def close(self) -> None:
        self._connection.close()

    def _send(self, writes: Sequence[Write]) -> list[Outcome]:
        body = wire.dumps({"writes": [{"id": write.id, "name": write.name, "arguments": write.arguments} for write in writes]})
        headers = {"authorization": f"Bearer {self.note.token}", "content-type": "application/json"}
        try:
            self._connection.request("POST", self._prefix + WRITES_PATH, body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as exc:
            self._connection.close()
            raise ServerGoneError(str(exc)) from exc
        if response.status == 413:
            return [Outcome(error=StoreError(f"The server at {self.note.url} takes no write of {len(body)} bytes."))] * len(
                writes
            )
        if response.status != 200:
            raise ServerGoneError(f"{response.status} {content[:200]!r}")
        return [_outcome(result) for result in wire.loads(content)["results"]]


def _parts(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """Groups small enough for the server's cap on bodies; one write alone is never split."""
    part: list[Write] = []
    size = 0
    for write in writes:
        weight = sum(len(value) for value in write.arguments.values() if isinstance(value, bytes))
        if part and size + weight > MAX_REQUEST_BYTES:
            yield part
            part, size = [], 0
        part.append(write)
        size += weight
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
