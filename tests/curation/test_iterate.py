"""The next version: failures lead to questions like them, and never into the rows that are measured on."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.curation import Options, build, extend, find_leaks, similar_prompts
from stillhouse.curation.collect import Collected
from stillhouse.dataset import Dataset, Example
from stillhouse.errors import UsageError
from tests.curation.examples import an_example, collected, prompts
from tests.curation.test_build import questions


def a_parent() -> tuple[Dataset, list[Example]]:
    version = build("d", collected(*map(an_example, questions(100))), Options(shares=(0.6, 0.2, 0.2)))
    manifest = Dataset(
        name="d",
        fingerprint=version.fingerprint,
        created=0,
        counts={},
        files={},
        hashes={},
        teachers={"teacher": 100},
        may_train={"openai": "yes"},
    )
    return manifest, version.examples


def held_out(examples: list[Example]) -> list[Example]:
    return [example for example in examples if example.split != "train"]


def test_new_rows_join_train_and_the_measured_rows_stay_the_same() -> None:
    parent, examples = a_parent()
    fresh = [an_example(text, split="test") for text in questions(30, seed=9)]
    new = Collected(fresh, teacher_of={e.source or "": "gpt" for e in fresh}, may_train={"other": "no: terms"})
    version = extend(parent, examples, new)
    assert held_out(version.examples) == held_out(examples)
    assert len(version.examples) == 130
    assert version.parents == (parent.fingerprint,)
    assert version.teachers == {"teacher": 100, "gpt": 30}
    assert version.may_train == {"openai": "yes", "other": "no: terms"}


def test_what_forbade_training_on_the_parent_forbids_it_on_the_next_version() -> None:
    parent, examples = a_parent()
    forbidden = parent.model_copy(update={"may_train": {"openai": "no: terms"}})
    new = Collected([an_example(text) for text in questions(30, seed=9)], may_train={"openai": "yes"})
    assert extend(forbidden, examples, new).may_train == {"openai": "no: terms"}


def test_the_teachers_answers_to_held_out_questions_are_never_added() -> None:
    parent, examples = a_parent()
    asked_again = [an_example(text.upper(), "another answer") for text in prompts(held_out(examples))]
    version = extend(parent, examples, collected(*asked_again, an_example("Something new altogether")))
    assert version.removed["held out: asked in valid or test"] == len(asked_again) > 0
    assert prompts(set_difference(version.examples, examples)) == ["Something new altogether"]
    assert find_leaks(version.examples, 0.9) == []


def set_difference(after: list[Example], before: list[Example]) -> list[Example]:
    known = {example.id for example in before}
    return [example for example in after if example.id not in known]


def test_what_is_known_already_is_not_added_again() -> None:
    parent, examples = a_parent()
    with pytest.raises(UsageError, match="Nothing new"):
        extend(parent, examples, collected(*(an_example(text.title()) for text in prompts(examples))))


BATCH = st.lists(
    st.builds(
        lambda number, alter, answer: an_example(alter(questions(30)[number]), answer),
        st.integers(0, 29),
        st.sampled_from([str, str.upper, str.title, lambda text: f" {text}\n", lambda text: text + "!"]),
        st.sampled_from(["yes", "no"]),
    ),
    max_size=15,
)


@given(st.lists(BATCH, min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_whatever_is_added_train_and_the_measured_rows_never_meet(batches: list[list[Example]]) -> None:
    parent, examples = a_parent()
    measured = held_out(examples)
    for batch in batches:
        try:
            version = extend(parent, examples, collected(*batch, *batch))
        except UsageError as nothing:
            assert "Nothing new" in str(nothing)
            continue
        examples, parent = version.examples, parent.model_copy(update={"fingerprint": version.fingerprint})
        assert held_out(examples) == measured
        assert find_leaks(examples, 0.9) == []
        assert len({example.id for example in examples}) == len(examples)


def test_questions_like_the_failures_are_found() -> None:
    rng = random.Random(0)
    names = ["Ada", "Bo", "Cy", "Di", "Ed"]
    coins = [f"A coin is heads up. {rng.choice(names)} flips it {number} times. Heads?" for number in range(40)]
    letters = [f"Join the last letters of {rng.choice(names)} and {rng.choice(names)}, case {number}." for number in range(40)]
    pool = coins + letters
    found = similar_prompts(["Join the last letters of Ada and Ed, case 77."], pool, each=10)
    assert found and all(position >= 40 for position in found)
    assert similar_prompts(["zzzz"], pool) == []
    assert similar_prompts(["x"], []) == []
