"""Every task of the table: gold answers that follow from the text, rationales that end in them, names that are never shared."""

from __future__ import annotations

import re
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.answers import final_answer
from stillhouse.tasks import PAPER_TASKS, TASKS
from stillhouse.tasks.base import Task
from stillhouse.tasks.words import LENGTHS, POOLS, Pool, distinct_names, pool_of


def _task(name: str) -> Task:
    task: Task = TASKS.resolve(name)
    return task


@pytest.mark.parametrize("name", TASKS.names())
@given(seed=st.integers(0, 10_000))
def test_the_same_arguments_give_the_same_questions(name: str, seed: int) -> None:
    assert _task(name)(5, seed, "learn") == _task(name)(5, seed, "learn")


@pytest.mark.parametrize("name", TASKS.names())
def test_every_rationale_ends_in_the_gold_answer(name: str) -> None:
    for question in _task(name)(300, 1):
        assert question.task == name
        assert len(set(question.rationales)) == len(question.rationales) >= 3
        assert {final_answer(rationale) for rationale in question.rationales} == {question.answer}


@pytest.mark.parametrize("name", TASKS.names())
def test_no_name_stands_in_two_questions_nor_in_two_pools(name: str) -> None:
    names = [found for pool in POOLS for question in _task(name)(200, 1, pool) for found in question.names]
    assert len(names) == len(set(names))


def test_coin_flip_gold_is_the_parity_of_the_flips_in_the_text() -> None:
    for question in _task("coin_flip")(500, 2):
        assert question.answer == ("no" if _flips(question.text) % 2 else "yes")


def _flips(text: str) -> int:
    return len(re.findall(r"flips it|turns it over", text))


def test_coin_flip_answers_are_balanced() -> None:
    answers = [question.answer for question in _task("coin_flip")(1_000, 3)]
    assert 400 < answers.count("yes") < 600


def test_last_letters_gold_is_read_off_the_names_in_order() -> None:
    for question in _task("last_letters")(500, 2):
        in_text = [word.rstrip(".:") for word in question.text.split() if word.rstrip(".:") in question.names]
        assert tuple(in_text) == question.names
        assert question.answer == "".join(name[-1] for name in in_text)


def test_coin_flip_rationales_change_the_side_once_a_flip() -> None:
    for question in _task("coin_flip")(100, 4):
        story = next(rationale for rationale in question.rationales if rationale.startswith("It is heads up."))
        sides = re.findall(r"heads|tails", story)
        assert sum(before != after for before, after in zip(sides, sides[1:], strict=False)) == _flips(question.text)


@pytest.mark.parametrize("pool", POOLS)
def test_names_are_distinct_and_belong_to_their_pool(pool: Pool) -> None:
    names = list(islice(distinct_names(Random(0), pool), 2_000))
    assert len(set(names)) == len(names)
    assert {pool_of(name) for name in names} == {pool}
    assert {len(name) for name in names} == set(LENGTHS)


def test_the_papers_wording_of_the_two_generated_tasks() -> None:
    for key in PAPER_TASKS.names():
        questions = PAPER_TASKS.resolve(key)(200, 1)
        assert questions == PAPER_TASKS.resolve(key)(200, 1)
        assert {question.task for question in questions} == {key}
        assert {len(question.names) for question in questions} == {4}
        for question in questions:
            assert all(name in question.text for name in question.names)
    coins, letters = (PAPER_TASKS.resolve(key)(200, 1) for key in ("coin_flip", "last_letter_concatenation"))
    assert all(coin.answer == ("no" if len(re.findall(" flips the coin", coin.text)) % 2 else "yes") for coin in coins)
    assert all(each.answer == "".join(name[-1] for name in each.names) for each in letters)
