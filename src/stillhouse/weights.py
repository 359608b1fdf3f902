"""How many numbers a model folder's weights hold, read from the safetensors headers: no weight is loaded.

The format (github.com/huggingface/safetensors, "Format"): eight bytes of header length, little-endian, then a JSON object of
tensor name -> dtype, shape, offsets. A tied tensor is stored once, so it counts once.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import orjson

from stillhouse.errors import UsageError

MAX_HEADER_BYTES = 100_000_000


def count_parameters(folder: Path) -> int:
    """Over all `.safetensors` files in `folder`. Raises UsageError when there is none or one cannot be read."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(f"{folder} holds no .safetensors file. Models are added as transformers saves them (save_pretrained).")
    return sum(_numbers_in(path) for path in files)


def _numbers_in(path: Path) -> int:
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else MAX_HEADER_BYTES + 1
        if length > MAX_HEADER_BYTES:
            raise UsageError(f"{path} is no safetensors file: its header cannot be {length} bytes long.")
        header = file.read(length)
    try:
        tensors = {name: tensor for name, tensor in orjson.loads(header).items() if name != "__metadata__"}
        return sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError) as exc:
        raise UsageError(f"{path} is no safetensors file: {exc!r}.") from exc
