"""Text as the search index sees it: lower-cased words, and pairs of neighbouring characters where a script writes no spaces.

SQLite's own tokenizers find neither 退款 (two characters), nor 退货流程 (in a longer run), nor `gen` in `重跑gen-itgc后修复`.
Cutting the text here finds all, the same way in every database. No stemming, no stop words.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Scripts written without spaces: Han (with its extensions), kana, Hangul, Thai, Lao, Khmer, Myanmar.
_UNSPACED = (
    "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\U00020000-\U0003134f"
)
_PIECE = re.compile(rf"(?P<unspaced>[{_UNSPACED}]+)|(?P<word>[^\W_{_UNSPACED}]+)")


def index_words(text: str) -> list[str]:
    """What is indexed: words whole; of an unspaced run every character and every pair."""
    words: list[str] = []
    for piece, unspaced in _pieces(text):
        if unspaced:
            words.extend(_plain(character) for character in piece)
            words.extend(_pairs(piece))
        else:
            words.append(_plain(piece))
    return words


def query_phrases(text: str) -> list[list[str]]:
    """What is looked for: every phrase must occur, its words one after the other. Empty when nothing in it can be searched."""
    return [_pairs(piece) if unspaced and len(piece) > 1 else [_plain(piece)] for piece, unspaced in _pieces(text)]


def _pieces(text: str) -> list[tuple[str, bool]]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [(match[0], match.lastgroup == "unspaced") for match in _PIECE.finditer(folded)]


def _pairs(run: str) -> list[str]:
    return [_plain(run[i : i + 2]) for i in range(len(run) - 1)]


@lru_cache(maxsize=1 << 14)  # a language's characters and its frequent pairs
def _plain(word: str) -> str:
    """ASCII letters and digits only, so that no database's own idea of letters, cases or locales cuts it again."""
    return word if word.isascii() else "u" + word.encode("utf-16-be").hex()
