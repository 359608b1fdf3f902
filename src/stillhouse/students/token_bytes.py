"""The bytes of single tokens, for `logprobs`: a token may be part of a character, and then its text cannot say which part."""

from __future__ import annotations

import json
import re
from typing import Any

from stillhouse.students.text_stream import HALF

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
"""How vocabularies with byte fallback write a byte."""


class TokenBytes:
    """Reads a tokenizer of the `tokenizers` library: byte-level, with byte fallback, or of whole characters."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        decoders = _decoders(tokenizer)
        self._byte_level = "ByteLevel" in decoders
        self._fallback = "ByteFallback" in decoders

    def of(self, token: int, text: str) -> list[int] | None:
        """The bytes of `token`, whose text alone is `text`; None where the tokenizer does not tell."""
        if HALF not in text:
            return list(text.encode())
        written = str(self._tokenizer.convert_ids_to_tokens(token))
        if self._byte_level and all(character in BYTE_OF for character in written):
            return [BYTE_OF[character] for character in written]
        byte = _BYTE.fullmatch(written) if self._fallback else None
        return [int(byte[1], 16)] if byte else None


def _byte_of() -> dict[str, int]:
    """Byte-level vocabularies write a byte as one letter: printable Latin-1 as itself, the others from U+0100 on (GPT-2)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


BYTE_OF = _byte_of()


def _decoders(tokenizer: Any) -> set[str]:
    """The kinds of the steps that turn tokens into text."""
    decoder = tokenizer.backend_tokenizer.decoder
    if decoder is None:
        return set()
    state = json.loads(decoder.__getstate__())
    return {str(step["type"]) for step in [state, *state.get("decoders", ())]}
