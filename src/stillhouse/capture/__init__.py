"""Capture: a ChatModel that wraps another and durably records what passes (docs/gateway.md is this folder in plain words).

The request is on disk before the upstream is called, and nothing that tells a client "this is the whole answer" leaves before
the answer is. Text is never delayed: only the end of a stream, or a whole body, waits for the commit. A client that leaves does
not stop the recording. What an answer means is not asked here; how it ended is told by `ending`.
"""

from __future__ import annotations

from stillhouse.capture.model import Capture
from stillhouse.capture.recorder import CAPTURE_HEADER, Origin, Recorder
from stillhouse.capture.stream import RecordedStream

__all__ = ["CAPTURE_HEADER", "Capture", "Origin", "RecordedStream", "Recorder"]
