"""Writes and their outcomes as JSON: over HTTP to the live server, and in the spool. Bytes are base64 under the key `$bytes`."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from stillhouse import errors

_BYTES = "$bytes"
_OBJECT = "$object"  # pairs of an object that has one of these two names as a key of its own


def dumps(value: Any) -> bytes:
    """JSON of a value that may hold bytes, tuples and lone surrogates (which become U+FFFD)."""
    return orjson.dumps(_plain(value))


def loads(raw: bytes) -> Any:
    """The value `dumps` was given. Raises orjson.JSONDecodeError."""
    return _restored(orjson.loads(raw))


def error_to_json(error: BaseException) -> dict[str, str]:
    """A StillhouseError by name and message; anything else as a StoreError."""
    kind = type(error).__name__ if isinstance(error, errors.StillhouseError) else errors.StoreError.__name__
    return {"kind": kind, "message": str(error)}


def error_from_json(value: dict[str, str]) -> errors.StillhouseError:
    """The error again; a kind this version does not know is a StoreError."""
    kind = {cls.__name__: cls for cls in _SIMPLE_ERRORS}.get(value.get("kind", ""), errors.StoreError)
    return kind(value.get("message", ""))


_SIMPLE_ERRORS: tuple[type[errors.StillhouseError], ...] = (
    errors.UsageError,
    errors.NotFoundError,
    errors.ConflictError,
    errors.StoreError,
    errors.StoreBusyError,
)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        pairs = {_plain(key): _plain(item) for key, item in value.items()}
        return {_OBJECT: list(pairs.items())} if pairs.keys() & {_BYTES, _OBJECT} else pairs
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {_BYTES}:
            return base64.b64decode(value[_BYTES])
        if value.keys() == {_OBJECT}:
            return {key: _restored(item) for key, item in value[_OBJECT]}
        return {key: _restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item) for item in value]
    return value
