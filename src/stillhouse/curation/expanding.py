"""More questions than there are: a model is shown some and writes others like them, or rewrites one to be harder.

`self-instruct` (Wang et al. 2023): eight questions are shown, six of them seeds and two made before, and more of their kind asked
for. `evolve` (Evol-Instruct: Xu et al. 2023, WizardLM): one question is rewritten in one of five ways. What comes is kept where
`novelty` finds it new. Round by round, and within a round in the order of asking: the same answers give the same questions, so a
run that was killed goes on from its ledger.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from stillhouse.apply import Ask, Outcome
from stillhouse.chat import ChatRequest
from stillhouse.curation.novelty import Novelty
from stillhouse.records import Record

Method = Literal["self-instruct", "evolve"]

SEEDS_SHOWN, MADE_SHOWN = 6, 2
ASKED_FOR = 8
"""Questions in one answer of self-instruct."""
ROUND = 16
"""Requests between two looks at what is known."""
BARREN = 3
"""Rounds in a row that bring nothing new end it."""

SHOW = """Below are {shown} requests that people sent to an assistant.

{examples}

Write {wanted} more requests of the same kind, as other people would send them. Vary the subject, the length and the wording; \
repeat none of those above; each must make sense on its own. One request a line, each line beginning with its \
number, nothing else."""

WAYS = {
    "constraint": "Add one more condition or requirement that an answer has to meet.",
    "depth": "Ask about the same matter in more depth or breadth.",
    "concrete": "Replace general notions by more specific ones.",
    "reasoning": "Make it need several explicit steps of reasoning, where one or two are enough now.",
    "breadth": "Write a quite different and rarer request from the same field, of similar length and difficulty, instead.",
}
"""Four ways into depth and one into breadth."""

EVOLVE = """Rewrite the request below. {way} Keep it understandable and answerable by a person who knows the field, and do not \
add more than twenty words. Keep its language. Answer with the rewritten request alone.

{text}"""

_NUMBERED = re.compile(r"^\s*\d{1,3}\s*[.):、]\s*(.+?)\s*$")


class Expansion(Record):
    """What is to be made, and how."""

    model: str
    count: int = Field(ge=1)
    method: Method = "self-instruct"
    seed: int = 0
    near: float = Field(default=0.7, gt=0, le=1)
    parameters: dict[str, Any] = {}


class Made(Record):
    """A new question, and what it was made of."""

    text: str
    way: str
    """`self-instruct`, or `evolve:` and the way of rewriting."""
    parents: tuple[str, ...] = ()
    """The questions that were shown."""


class _Wanted(Record):
    """A request for questions."""

    prompt: str
    way: str
    parents: tuple[str, ...]


class Expander:
    """`while (asks := expander.round()): expander.hear(outcomes of asks)`; `made` is what has come of it."""

    def __init__(self, expansion: Expansion, seeds: Sequence[str], tests: Sequence[str] = ()) -> None:
        self.made: list[Made] = []
        self.novelty = Novelty(seeds, tests, expansion.near)
        self._expansion = expansion
        self._seeds = list(dict.fromkeys(seeds))
        self._rounds = self._barren = 0
        self._wanted: list[_Wanted] = []

    def round(self) -> list[Ask]:
        """The next requests; none once enough is made, or nothing new comes any more."""
        if len(self.made) >= self._expansion.count or self._barren >= BARREN or not self._seeds:
            return []
        dice = random.Random(f"{self._expansion.seed} {self._rounds}")
        self._rounds += 1
        want = self._similar if self._expansion.method == "self-instruct" else self._evolved
        self._wanted = [want(dice) for _ in range(ROUND)]
        return [self._ask(wanted, self._rounds * ROUND + number) for number, wanted in enumerate(self._wanted)]

    def hear(self, outcomes: Sequence[Outcome | None]) -> None:
        """What came of the round's requests, in their order."""
        before = len(self.made)
        for wanted, outcome in zip(self._wanted, outcomes, strict=True):
            response = None if outcome is None else outcome.response
            if response is None:
                self.novelty.turned_away["no answer"] += 1
                continue
            for text in self._texts(response.text):
                if len(self.made) < self._expansion.count and self.novelty.take(text):
                    self.made.append(Made(text=text, way=wanted.way, parents=wanted.parents))
        self._barren = 0 if len(self.made) > before else self._barren + 1

    def _ask(self, wanted: _Wanted, number: int) -> Ask:
        messages = [{"role": "user", "content": wanted.prompt}]
        return Ask.of(ChatRequest.build(self._expansion.model, messages, **self._expansion.parameters), number)

    def _similar(self, dice: random.Random) -> _Wanted:
        made = dice.sample([each.text for each in self.made], min(MADE_SHOWN, len(self.made)))
        shown = dice.sample(self._seeds, min(SEEDS_SHOWN + MADE_SHOWN - len(made), len(self._seeds))) + made
        dice.shuffle(shown)
        examples = "\n".join(f"{number}. {' '.join(text.split())}" for number, text in enumerate(shown, start=1))
        prompt = SHOW.format(shown=len(shown), examples=examples, wanted=ASKED_FOR)
        return _Wanted(prompt=prompt, way="self-instruct", parents=tuple(shown))

    def _evolved(self, dice: random.Random) -> _Wanted:
        text = dice.choice([*self._seeds, *(each.text for each in self.made)])
        way = dice.choice(sorted(WAYS))
        return _Wanted(prompt=EVOLVE.format(way=WAYS[way], text=text), way=f"evolve:{way}", parents=(text,))

    def _texts(self, answer: str) -> list[str]:
        if self._expansion.method == "evolve":
            return [answer.strip()]
        return [match[1] for line in answer.splitlines() if (match := _NUMBERED.match(line))]
