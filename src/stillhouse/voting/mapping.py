"""An answer -> a label, by the first rule that finds one; what none finds is no label, and is counted.

exact       the answer, without white space around it, is a label
normalised  it is one but for case, white space, `_` and `-`, quotes and stops (`"Card Arrival."` is `card_arrival`)
prefix      it begins exactly one label, three characters at least (`card_arr`)
contained   exactly one label stands in it, whole words; one that stands in a longer one there does not count (`The label is: card
            arrival`). An answer that negates a label contains it, too: where that may happen, ask for `json`.

The answer of a reasoning model is what it says after it has thought. An object with a `label` (a constrained answer), also within
a fence of Markdown, answers with that.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import Literal, NamedTuple

from stillhouse.reasoning.thinking import split_text
from stillhouse.voting.label_names import LabelNames, folded

Rule = Literal["exact", "normalised", "prefix", "contained"]
UNSURE = "unsure"
"""What a teacher answers that cannot tell, where it was told that it may."""
SHORTEST_PREFIX = 3
LONGEST_ANSWER = 10_000
"""Characters that are looked through for a label."""
_FENCE = re.compile(r"\A```[a-z]*\s*(.*?)\s*```\Z", re.DOTALL)


class Mapped(NamedTuple):
    label: str
    rule: Rule


class Mapping:
    """The rules for one set of labels."""

    def __init__(self, labels: LabelNames) -> None:
        self._labels = labels
        self._by_folded = {folded(name): name for name in labels}

    def label_of(self, answer: str) -> Mapped | None:
        """The label that an answer says; None where no rule finds one, or more than one."""
        said = said_in(answer).strip()
        if said in self._labels.names:
            return Mapped(said, "exact")
        short = folded(said[:LONGEST_ANSWER])
        if short in self._by_folded:
            return Mapped(self._by_folded[short], "normalised")
        begun = [name for key, name in self._by_folded.items() if key.startswith(short)] if len(short) >= SHORTEST_PREFIX else []
        if len(begun) == 1:
            return Mapped(begun[0], "prefix")
        inside = {match[0] for match in self._pattern.finditer(short)} if not begun else set()
        return Mapped(self._by_folded[inside.pop()], "contained") if len(inside) == 1 else None

    def is_unsure(self, answer: str) -> bool:
        """Whether it says that it cannot tell."""
        return folded(said_in(answer)) == UNSURE and UNSURE not in self._by_folded

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Any label as whole words, the longest first. Names are taken literally, so no answer can make it slow."""
        longest = sorted(self._by_folded, key=len, reverse=True)
        return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest)) + r")(?!\w)")


def said_in(answer: str) -> str:
    """The answer's own words: without thoughts, without JSON around the label."""
    text = split_text(answer).text.strip()
    fenced = _FENCE.match(text)
    body = fenced[1] if fenced else text
    if body.startswith("{") and len(body) <= LONGEST_ANSWER:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return text
        if isinstance(value, dict) and isinstance(value.get("label"), str):
            return str(value["label"])
    return body
