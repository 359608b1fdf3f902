"""A student's child without weights: says one piece, then another, in the frames of `stillhouse.students.worker`."""

from __future__ import annotations

import json
import struct
import sys
from typing import Any


def send(frame: dict[str, Any]) -> None:
    body = json.dumps(frame).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    send({"ready": True})
    while header := sys.stdin.buffer.read(4):
        asked = json.loads(sys.stdin.buffer.read(struct.unpack(">I", header)[0])).get("ask")
        if asked is not None:
            send({"pieces": [[asked, 0, "one ", 1, 1], [asked, 0, "two", 1, 2, "stop"]]})
