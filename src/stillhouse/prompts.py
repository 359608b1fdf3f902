"""The normalised prompt and its hash: what splits are made by, so that one question never stands on two sides; samples' seeds.

Normalising is for comparing only; what is kept and trained on stays as it came.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

from stillhouse.chat import Message
from stillhouse.records import canonical_json, fingerprint
from stillhouse.transcript import message_text


def normalise(text: str) -> str:
    """NFKC, case folded, every run of white space one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def prompt_hash(messages: Sequence[Message]) -> str:
    """`sha256:...` over each message's role, normalised text and whatever of it is not text (images, tool calls)."""
    parts: list[bytes] = []
    for message in messages:
        parts.append(str(message.get("role", "")).encode("utf-8", "replace"))
        parts.append(normalise(message_text(message)).encode("utf-8", "replace"))
        parts.append(_beside_text(message))
    return fingerprint(*parts)


def sample_seed(seed: int, messages: Sequence[Message], sample: int) -> int:
    """The seed to send with one sample of one question: 0 to 2**31 - 1, which every server takes.

    Were it the same for every question, a server that heeds it would begin all answers alike. It is drawn by what is asked, not
    by where that stands, so that a file in another order, or with more questions, finds the answers that are kept.
    """
    drawn = hashlib.sha256(f"{seed} {prompt_hash(messages)} {sample}".encode()).digest()
    return int.from_bytes(drawn[:4], "big") >> 1


def _beside_text(message: Message) -> bytes:
    content = message.get("content")
    other = [part for part in content if not _is_text(part)] if isinstance(content, list) else []
    calls = message.get("tool_calls") or []
    return canonical_json([other, calls]) if other or calls else b""


def _is_text(part: object) -> bool:
    return isinstance(part, str) or (isinstance(part, dict) and isinstance(part.get("text"), str))
