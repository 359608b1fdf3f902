"""What a student says, as OpenAI's objects: pieces become choices and usage, failures become what an upstream would have said."""

from __future__ import annotations

import time
from typing import Any

import orjson

from stillhouse.errors import ContextLengthError, UpstreamError, UsageError
from stillhouse.generation import Piece
from stillhouse.ids import new_id


def unavailable(message: str, *, retry_after: int = 1) -> UpstreamError:
    """503: nobody answers now; `retry_after` in seconds."""
    headers = {"retry-after": str(retry_after)}
    return UpstreamError(message, status=503, body=_envelope(message, "student_unavailable"), headers=headers)


def refusal(frame: dict[str, Any]) -> Exception:
    """What to raise for a request that the child has refused."""
    if frame["code"] == ContextLengthError.code:
        return ContextLengthError(frame["message"])
    if frame["code"] == "internal_error":
        return UpstreamError(frame["message"], status=500, body=_envelope(frame["message"], frame["code"]))
    return UsageError(frame["message"])


def body_of(model: str, kind: str) -> dict[str, Any]:
    """The fields that an answer and each of its chunks begin with."""
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": model}


def choice(piece: Piece, field: str) -> dict[str, Any]:
    """A whole choice (`message`), or what is new in one (`delta`)."""
    whole = field == "message"
    return {
        "index": piece.choice,
        field: {"role": "assistant", "content": piece.text, "refusal": None} if whole else {"content": piece.text},
        "logprobs": None if piece.logprobs is None else {"content": piece.logprobs, "refusal": None},
        "finish_reason": piece.finish if whole else None,
    }


def opening(index: int) -> dict[str, Any]:
    """The first thing that a stream says of a choice: whose words will follow."""
    delta = {"role": "assistant", "content": "", "refusal": None}
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def closing(piece: Piece) -> dict[str, Any]:
    """The last thing: why it ends."""
    return {"index": piece.choice, "delta": {}, "logprobs": None, "finish_reason": piece.finish}


def usage(pieces: dict[int, Piece]) -> dict[str, int]:
    """Of the latest piece of each choice: the prompt counts once."""
    prompt = max(piece.prompt_tokens for piece in pieces.values())
    said = sum(piece.completion_tokens for piece in pieces.values())
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def _envelope(message: str, code: str) -> bytes:
    """What an upstream would have said."""
    return orjson.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": code}})
