"""Texts -> tokens, by script: words where words are spaced; single characters in Chinese, Japanese, Thai and their like.

The usual tokenizers of these metrics cut at spaces and drop what is not ASCII, so that a Chinese sentence has one token or none:
ROUGE-L of such a sentence with itself is then 0. Here Han, kana, Thai, Lao, Khmer and Burmese text counts by characters (with the
marks that stand on them), everything else by words; Korean is spaced and counts by words.
"""

from __future__ import annotations

import unicodedata

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),
    (0x20000, 0x323AF),
)
_HAN = ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


def words(text: str) -> list[str]:
    """Lower-cased words and characters; punctuation and symbols are left out. For ROUGE and METEOR."""
    return [token for token in tokens(text.lower()) if unicodedata.category(token[0])[0] in "LNM"]


def tokens(text: str) -> list[str]:
    """Words and characters as they are, each other sign by itself. For GLEU."""
    found: list[str] = []
    open_word = False
    for character in text:
        kind = unicodedata.category(character)[0]
        if character.isspace():
            open_word = False
        elif kind == "M" and found:
            found[-1] += character  # a mark belongs to what it stands on
        elif kind in "LNM" and not is_unspaced(character):
            if open_word:
                found[-1] += character
            else:
                found.append(character)
            open_word = True
        else:
            found.append(character)
            open_word = False
    return found


def is_unspaced(character: str) -> bool:
    """Whether it belongs to a script that is written without spaces."""
    return character > "\u0dff" and _within(character, _UNSPACED)


def is_han(character: str) -> bool:
    """Whether it is a Chinese character."""
    return character > "\u3004" and _within(character, _HAN)


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)
