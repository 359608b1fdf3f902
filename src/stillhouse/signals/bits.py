"""Whole numbers in as few bits as their bound needs, one after the other, lowest bit first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDEST = 25
"""Bits: a number and the up to 7 bits before it are read as one 32-bit word."""


def width_of(bound: int) -> int:
    """Bits that hold every number below `bound`. Raises ValueError where that is more than `WIDEST`."""
    width = max(int(bound - 1).bit_length(), 1)
    if width > WIDEST:
        raise ValueError(f"numbers up to {bound - 1} need {width} bits; at most {WIDEST} are packed")
    return width


def pack(values: NDArray[Any], width: int) -> bytes:
    """`values` (of any shape, below 2**width, not negative) in ceil(count * width / 8) bytes."""
    flat = np.ascontiguousarray(values, dtype="<u4").reshape(-1, 1)
    if flat.size and int(flat.max()) >> width:
        raise ValueError(f"{int(flat.max())} does not fit into {width} bits")
    bits = np.unpackbits(flat.view(np.uint8), axis=1, bitorder="little", count=width)
    return np.packbits(bits, bitorder="little").tobytes()


def unpack(data: bytes, width: int, count: int) -> NDArray[np.int32]:
    """The first `count` numbers of `pack`. Raises ValueError where `data` is too short for them."""
    if len(data) * 8 < count * width:
        raise ValueError(f"{len(data)} bytes do not hold {count} numbers of {width} bits")
    padded = np.frombuffer(data + bytes(4), dtype=np.uint8)
    words: NDArray[np.uint32] = np.ndarray((len(data) + 1,), dtype="<u4", buffer=padded, strides=(1,))
    starts = np.arange(count, dtype=np.int64) * width
    shifted: NDArray[np.uint32] = words[starts >> 3] >> (starts & 7).astype(np.uint32)
    return (shifted & np.uint32((1 << width) - 1)).astype(np.int32)
