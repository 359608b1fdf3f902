"""Coin flip and last letters in the words of the chain-of-thought papers: four people, four names; names are our own.

For files in the layout of Ho et al. 2023, beside which a teacher's rationales are put. No rationales here.
"""

from __future__ import annotations

import random
from itertools import islice

from stillhouse.tasks.base import Question
from stillhouse.tasks.words import Pool, distinct_names

PEOPLE = 4


def paper_coin_flip(count: int, seed: int = 0, pool: Pool = "learn") -> list[Question]:
    """`count` questions; the coin starts heads up, each of four people flips it or does not."""
    rng = random.Random(f"paper coin_flip {seed} {pool}")
    names = distinct_names(rng, pool)
    found = []
    for _ in range(count):
        people = tuple(islice(names, PEOPLE))
        flips = [rng.random() < 0.5 for _ in people]
        steps = (f"{name} {'flips' if flip else 'does not flip'} the coin." for name, flip in zip(people, flips, strict=True))
        text = " ".join(["A coin is heads up.", *steps, 'Is the coin still heads up? Note that "flip" here means "reverse".'])
        answer = "no" if sum(flips) % 2 else "yes"
        found.append(Question(task="coin_flip", text=text, answer=answer, rationales=(), names=people))
    return found


def paper_last_letters(count: int, seed: int = 0, pool: Pool = "learn") -> list[Question]:
    """`count` questions of four names."""
    rng = random.Random(f"paper last_letters {seed} {pool}")
    names = distinct_names(rng, pool)
    found = []
    for _ in range(count):
        chosen = tuple(islice(names, PEOPLE))
        text = f'Take the last letters of each words in "{" ".join(chosen)}" and concatenate them.'
        answer = "".join(name[-1] for name in chosen)
        found.append(Question(task="last_letter_concatenation", text=text, answer=answer, rationales=(), names=chosen))
    return found
