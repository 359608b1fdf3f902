"""More questions from seeds: new ones only, the same again from the same answers, every other one accounted for."""

from __future__ import annotations

import random
import re

import orjson
import pytest

from stillhouse.apply import Outcome
from stillhouse.curation.expanding import ASKED_FOR, BARREN, ROUND, WAYS, Expander, Expansion, Method
from stillhouse.curation.novelty import Novelty

SEEDS = ["How do I tune a violin?", "Write a haiku about the harbour at night.", "What does a glacier carry with it?"]
TESTS = ["Which spices keep for longer than a year in a dark cupboard?"]


def answered(key: str, text: str) -> Outcome:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    return Outcome(key=key, body=orjson.dumps(body).decode())


def novel(dice: random.Random) -> str:
    return " ".join("".join(dice.choices("abcdefghijklmnopqrst", k=6)) for _ in range(6))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Why?", "too short"),
        ("x" * 5000, "too long"),
        ("!!! --- ??? ###", "no question"),
        ("Here is the rewritten prompt: how do birds sleep", "speaks of its own making"),
        ("HOW do I  tune a violin?", "stands there already"),
        ("How do I tune a violin?!", "nearly stands there"),
        ("Which spices keep for longer than a year in a dark cupboard?", "a test asks it"),
        ("Which spices keep for longer than one year in a dark cupboard?", "a test asks it"),
        ("How is a cello strung for the first time?", None),
        ("小提琴应该怎样调音才准确？", None),
    ],
)
def test_what_is_turned_away_and_why(text: str, reason: str | None) -> None:
    novelty = Novelty(SEEDS, TESTS)
    assert novelty.take(text) is (reason is None)
    assert dict(novelty.turned_away) == ({} if reason is None else {reason: 1})
    if reason is None:
        assert not novelty.take(text), "what was taken once is known"


def run(method: Method, count: int, seed: int = 0) -> tuple[Expander, list[str]]:
    expander = Expander(Expansion(model="m", count=count, method=method, seed=seed), SEEDS, TESTS)
    prompts = []
    while asks := expander.round():
        prompts += [str(ask.request.messages[0]["content"]) for ask in asks]
        assert len({ask.key for ask in asks}) == ROUND
        outcomes = []
        for ask in asks:
            dice = random.Random(ask.key)
            lines = [f"{number}. {novel(dice)}" for number in range(1, ASKED_FOR + 1)]
            text = "Here they are:\n" + "\n".join([*lines, f"9) {TESTS[0]}"]) if method == "self-instruct" else novel(dice)
            outcomes.append(answered(ask.key, text))
        expander.hear(outcomes)
    return expander, prompts


@pytest.mark.parametrize("method", ["self-instruct", "evolve"])
def test_as_many_new_ones_as_wanted_and_the_same_from_the_same_answers(method: Method) -> None:
    first, prompts = run(method, 200)
    assert len(first.made) == len({each.text for each in first.made}) == 200
    assert not {each.text for each in first.made} & {*SEEDS, *TESTS}
    assert first.made == run(method, 200)[0].made != run(method, 200, seed=1)[0].made
    assert all(re.search("request", prompt) for prompt in prompts)
    if method == "self-instruct":
        assert first.novelty.turned_away["a test asks it"] > 0
        assert any(set(each.parents) & {other.text for other in first.made} for each in first.made), "made ones are shown, too"
    else:
        assert {each.way for each in first.made} == {f"evolve:{way}" for way in WAYS}


def test_a_model_that_says_the_same_again_ends_it() -> None:
    expander, rounds = Expander(Expansion(model="m", count=9), SEEDS), 0
    while asks := expander.round():
        rounds += 1
        expander.hear([answered(ask.key, f"1. {SEEDS[0]}\nno number, no question") if i else None for i, ask in enumerate(asks)])
    assert (rounds, expander.made) == (BARREN, [])
    assert dict(expander.novelty.turned_away) == {"no answer": BARREN, "stands there already": BARREN * (ROUND - 1)}


def test_without_seeds_there_is_nothing_to_show() -> None:
    assert Expander(Expansion(model="m", count=9), []).round() == []
