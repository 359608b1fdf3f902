"""Labelling function `keyword`: a label for texts that hold certain words or phrases.

Whole words, whatever their case and the white space between them; in scripts that are written without spaces, anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from stillhouse.labelling_functions.base import FunctionConfig, Means, Said
from stillhouse.prompts import normalise
from stillhouse.similarity.words import is_unspaced


class KeywordConfig(FunctionConfig):
    type: Literal["keyword"]
    label: str
    any: tuple[str, ...] = ()
    """One of these at least, where there are any."""
    all: tuple[str, ...] = ()
    """All of these."""
    none: tuple[str, ...] = ()
    """None of these."""

    @model_validator(mode="after")
    def _says_something(self) -> KeywordConfig:
        if not self.any and not self.all:
            raise ValueError("it needs `any` or `all`: words that a text must hold")
        if not all(normalise(word) for word in (*self.any, *self.all, *self.none)):
            raise ValueError("one of its words is empty")
        return self


class Keyword:
    """Its label where the words are there."""

    Config = KeywordConfig

    def __init__(self, config: KeywordConfig, means: Means) -> None:
        self.name, self.weight, self._label = config.name, config.weight, config.label
        self._any, self._all, self._none = ([_pattern(word) for word in words] for words in (config.any, config.all, config.none))

    async def say(self, texts: Sequence[str]) -> list[Said]:
        return [Said(self._label if self._holds(normalise(text)) else None) for text in texts]

    def _holds(self, text: str) -> bool:
        return (
            (not self._any or any(pattern.search(text) for pattern in self._any))
            and all(pattern.search(text) for pattern in self._all)
            and not any(pattern.search(text) for pattern in self._none)
        )


def _pattern(word: str) -> re.Pattern[str]:
    """The word, taken literally, so that no text can make it slow."""
    plain = normalise(word)
    before = r"(?<!\w)" if _is_spaced(plain[0]) else ""
    after = r"(?!\w)" if _is_spaced(plain[-1]) else ""
    return re.compile(before + re.escape(plain) + after)


def _is_spaced(character: str) -> bool:
    return character.isalnum() and not is_unspaced(character)
