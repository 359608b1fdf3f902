"""Payload bytes as they lie in the store: zstd, and back."""

from __future__ import annotations

import threading

import zstandard

LEVEL = 1
"""On chat JSON level 3 saves a tenth more bytes for about twice the time; the writer thread is the busiest place there is."""


class PayloadDamagedError(Exception):
    """The bytes in the store are not what was put there. Never leaves `stores`."""


_local = threading.local()  # neither object may be shared between threads


def pack(data: bytes) -> bytes:
    """Compress; the frame holds the length and a checksum of the content."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    packed: bytes = _local.compressor.compress(data)
    return packed


def unpack(data: bytes) -> bytes:
    """The bytes that were packed. Raises PayloadDamagedError when they were altered since."""
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    try:
        unpacked: bytes = _local.decompressor.decompress(data)
    except zstandard.ZstdError as exc:
        raise PayloadDamagedError(str(exc)) from exc
    return unpacked
