"""API keys: made once, shown once, kept only as a hash.

256 random bits need no slow hash (that is for passwords): SHA-256 is one-way enough, and fast enough for every request.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib

from stillhouse.records import Record

PREFIX = "sk-still-"


class Key(Record):
    id: str
    name: str
    hash: str
    """SHA-256 of the secret, hex."""
    shown: str
    """The first characters, to recognise it by."""
    created: int
    revoked: int | None = None


def new_secret() -> str:
    """A fresh secret with a checksum at its end, so that a mistyped one is told from a wrong one."""
    body = secrets.token_urlsafe(32)
    return f"{PREFIX}{body}{zlib.crc32(body.encode()):08x}"


def hash_secret(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def well_formed(secret: str) -> bool:
    """Whether `secret` is one of ours, by its prefix and checksum."""
    body, checksum = secret.removeprefix(PREFIX)[:-8], secret[-8:]
    return secret.startswith(PREFIX) and f"{zlib.crc32(body.encode()):08x}" == checksum
