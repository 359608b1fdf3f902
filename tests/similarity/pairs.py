"""Pairs of texts, English and Chinese, each some edits apart; and the tokens of either as words that any tokenizer keeps."""

from __future__ import annotations

import random

_ENGLISH = """
the customer wants a refund but the order has already been shipped please follow the returns process and
update cards payments accounts running quickly arrived delivered pending transfers limits
"""
ENGLISH = _ENGLISH.split()
CHINESE = list("客户要求退款但订单已经发货请按流程处理银行卡付到账慢吗怎么办可以查询余额转失败")
LONGEST = 24


def english(number: int) -> tuple[str, str]:
    source = random.Random(number)
    words = source.choices(ENGLISH, k=source.randint(4, LONGEST))
    return " ".join(_edited(words, ENGLISH, source)), " ".join(words)


def chinese(number: int) -> tuple[str, str]:
    source = random.Random(number)
    characters = source.choices(CHINESE, k=source.randint(4, LONGEST))
    return "".join(_edited(characters, CHINESE, source)), "".join(characters)


def _edited(tokens: list[str], pool: list[str], source: random.Random) -> list[str]:
    edited = list(tokens)
    for _ in range(source.randint(0, len(tokens))):
        place = source.randrange(len(edited))
        edit = source.choice(("replace", "drop", "add", "swap"))
        if edit == "replace":
            edited[place] = source.choice(pool)
        elif edit == "drop" and len(edited) > 4:
            del edited[place]
        elif edit == "add":
            edited.insert(place, source.choice(pool))
        else:
            other = source.randrange(len(edited))
            edited[place], edited[other] = edited[other], edited[place]
    return edited


PAIRS = [(candidate, reference, reference.split()) for candidate, reference in map(english, range(100))] + [
    (candidate, reference, list(reference)) for candidate, reference in map(chinese, range(100, 200))
]
"""Candidate, reference, and the reference cut as its script is."""


def cut(text: str) -> list[str]:
    """The tokens of a text of this file."""
    return text.split() if text.isascii() else list(text)


def spelled(text: str) -> str:
    """The text with every Chinese character as a word of ASCII letters: what metrics that know no Chinese can count."""
    return " ".join(token if token.isascii() else f"zh{ord(token):x}" for token in cut(text))
