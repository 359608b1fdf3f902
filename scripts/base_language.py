"""The generated language that the demo's base model is pretrained on: names, letters, lists and very short stories.

It holds neither task of the demo: nothing is flipped or turned over, no parity, no even and odd, no last letters, nothing is
joined. What it teaches is what any pretrained model brings along: to copy, to spell, to go through a list item by item, to keep
track of where a thing is, and to answer in sentences.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import accumulate, islice

from stillhouse.tasks.words import distinct_names

Exchange = tuple[str, str]
"""A prompt and its answer."""

_THINGS = ("ball", "book", "box", "cup", "key", "lamp")
_COLOURS = ("red", "blue", "green", "white", "black")
_PLACES = ("table", "bed", "chair", "floor")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_REFRESH = 2_000
"""Exchanges after which names may come again."""


def exchanges(count: int, seed: int = 0) -> list[Exchange]:
    """`count` exchanges, every skill equally often; names from the pool `teach`."""
    return list(islice(_stream(seed), count))


def _stream(seed: int) -> Iterator[Exchange]:
    rng = random.Random(f"base language {seed}")
    while True:
        names = distinct_names(rng, "teach")
        for _ in range(_REFRESH):
            yield rng.choice(SKILLS)(rng, list(islice(names, rng.randint(1, 6))))


def spell(rng: random.Random, names: list[str]) -> Exchange:
    name = names[0]
    if rng.random() < 0.5:
        return f"Spell {name}.", " ".join(name) + "."
    return f"Go through the letters of {name}.", ", ".join(f"{number}) {letter}" for number, letter in enumerate(name, 1)) + "."


def unspell(rng: random.Random, names: list[str]) -> Exchange:
    return f"What name is this: {' '.join(names[0])}?", f"The answer is {names[0]}."


def grow(rng: random.Random, names: list[str]) -> Exchange:
    name = names[0]
    return f"Spell {name} step by step.", ", ".join(name[: end + 1] for end in range(len(name))) + "."


def repeat(rng: random.Random, names: list[str]) -> Exchange:
    text = rng.choice((" ", ", ")).join(names)
    return rng.choice(("Say it again: {}.", "Repeat the names: {}.")).format(text), f"{text}."


def number(rng: random.Random, names: list[str]) -> Exchange:
    numbered = " ".join(f"{place}) {name}." for place, name in enumerate(names, 1))
    return f"Number the names: {' '.join(names)}.", numbered


def count(rng: random.Random, names: list[str]) -> Exchange:
    counted = ", ".join(f"{name} {place}" for place, name in enumerate(names, 1))
    return f"How many names are there: {' '.join(names)}?", f"Count the names: {counted}. The answer is {len(names)}."


def begins(rng: random.Random, names: list[str]) -> Exchange:
    answer = " ".join(f"{name} begins with {name[0].lower()}." for name in names)
    return f"With which letter does each name begin: {' '.join(names)}?", answer


def after(rng: random.Random, names: list[str]) -> Exchange:
    place = rng.randrange(len(_ALPHABET) - 1)
    return f"Which letter comes after {_ALPHABET[place]}?", f"The answer is {_ALPHABET[place + 1]}."


def owns(rng: random.Random, names: list[str]) -> Exchange:
    things = [f"{colour} {thing}" for colour, thing in zip(rng.sample(_COLOURS, 5), rng.sample(_THINGS, 5), strict=True)]
    owned = dict(zip(names, things, strict=False))  # the sixth owns nothing
    story = " ".join(f"{name} has the {thing}." for name, thing in owned.items())
    name, thing = rng.choice(list(owned.items()))
    if rng.random() < 0.5:
        return f"{story} Who has the {thing}?", f"{name} has the {thing}. The answer is {name}."
    asked = rng.choice(list(owned.values()))
    return f"{story} Does {name} have the {asked}?", f"{name} has the {thing}. The answer is {'yes' if asked == thing else 'no'}."


def where(rng: random.Random, names: list[str]) -> Exchange:
    """A thing is moved or left; the answer goes through the story person by person."""
    thing, place = rng.choice(_THINGS), rng.choice(_PLACES)
    story, steps = [f"The {thing} is on the {place}."], [f"It is on the {place}."]
    for name in names:
        moved = rng.random() < 0.6
        place = rng.choice(_PLACES) if moved else place
        story.append(f"{name} puts it on the {place}." if moved else f"{name} leaves it.")
        steps.append(f"{name}: {place}." if rng.random() < 0.5 else f"{name} {'puts it' if moved else 'leaves it'}: {place}.")
    asked = rng.choice((place, rng.choice(_PLACES)))
    if rng.random() < 0.5:
        return f"{' '.join(story)} Where is it?", f"{' '.join(steps)} The answer is {place}."
    answer = "yes" if asked == place else "no"
    return f"{' '.join(story)} Is it on the {asked}?", f"{' '.join(steps)} The answer is {answer}."


def tally(rng: random.Random, names: list[str]) -> Exchange:
    """Who moved the thing, counted person by person."""
    thing, place = rng.choice(_THINGS), rng.choice(_PLACES)
    moves = [rng.random() < 0.5 for _ in names]
    story = [
        f"{name} puts it on the {rng.choice(_PLACES)}." if move else f"{name} leaves it."
        for name, move in zip(names, moves, strict=True)
    ]
    so_far = accumulate(moves)
    counted = ", ".join(f"{name} {count:d}" for name, count in zip(names, so_far, strict=True))
    return (
        f"The {thing} is on the {place}. {' '.join(story)} How many names put it?",
        f"Count: {counted}. The answer is {sum(moves)}.",
    )


SKILLS: tuple[Callable[[random.Random, list[str]], Exchange], ...] = (
    spell, unspell, grow, repeat, number, count, begins, after, owns, where, where, tally,
)  # fmt: skip
"""What the base is taught; `where` twice, being the longest."""
