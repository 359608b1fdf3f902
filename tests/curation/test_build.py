"""From collected examples to a version: duplicates, splits, leaks, fingerprint, and what lies on disk in the end."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.curation import LeakError, Options, Version, build, find_leaks
from stillhouse.curation.similarity import jaccard, prompt_text, sketches
from stillhouse.curation.splits import drawn_split
from stillhouse.dataset import Example
from stillhouse.errors import UsageError
from tests.curation.examples import an_example, collected, prompts

SYLLABLES = ["ra", "ston", "ko", "lan", "ma", "bour", "tick", "vel", "gin", "den", "wi", "pep", "sig", "brid", "can", "shu"]
WORDS = [one + other for one in SYLLABLES for other in SYLLABLES]


def questions(count: int, seed: int = 0, words: int = 12) -> list[str]:
    rng = random.Random(seed)
    return [f"Question {number}: " + " ".join(rng.choices(WORDS, k=words)) + "?" for number in range(count)]


def made(*examples: Example, **options: object) -> Version:
    return build("d", collected(*examples), Options.model_validate(options))


DISGUISES: list[Callable[[str], str]] = [
    lambda text: text.upper(),
    lambda text: text.replace(" ", "  \t"),
    lambda text: f"\n {text}\u00a0",
    lambda text: text.replace(" ", "\u3000"),
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
]


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_duplicate_in_disguise_is_always_found(disguise: Callable[[str], str]) -> None:
    originals = [f"{text} où est-il?" for text in questions(50)]
    version = made(*map(an_example, originals), *(an_example(disguise(text), "YES ") for text in originals), near_duplicates=None)
    assert version.removed == {"exact duplicate": 50}
    assert sorted(prompts(version.examples)) == sorted(originals), "the first of them stays"


def edited(text: str, rng: random.Random) -> str:
    position = rng.randrange(len(text))
    return text[:position] + rng.choice("xyz") + text[position + 1 :]


def test_nearly_all_near_duplicates_are_found_and_none_that_is_not() -> None:
    rng = random.Random(1)
    originals = questions(200, words=25)
    copies = [edited(text, rng) for text in originals]
    pairs = zip(sketches(originals), sketches(copies), strict=True)
    planted = sum(jaccard(one, other) >= 0.9 for one, other in pairs)
    assert planted > 150, "most of the planted pairs are near-duplicates by the exact measure"
    version = made(*map(an_example, originals), *map(an_example, copies))
    assert version.removed["near duplicate"] >= 0.99 * planted
    assert made(*map(an_example, questions(200, seed=2))).removed == {}


def test_what_differs_in_the_answer_is_no_duplicate() -> None:
    long = " ".join(questions(5))
    reasons = [an_example(long, "Because of the river."), an_example(long, "By counting stones.")]
    neighbours = [an_example(long + " 1", "one"), an_example(long + " 2", "two")]
    assert made(*reasons, *neighbours, shares=(1, 0, 0)).removed == {}


def test_one_prompts_reasons_stay_however_alike_they_are() -> None:
    reason = " ".join(questions(5))
    assert made(an_example("Why?", reason + " 1"), an_example("Why?", reason + " 2"), shares=(1, 0, 0)).removed == {}


def test_an_instruction_that_all_prompts_share_makes_no_duplicates() -> None:
    instruction = "Read the following message of a customer with care and name its intent in one word. " * 10
    version = made(*(an_example(instruction + text, "intent") for text in questions(100, words=6)))
    assert version.removed == {}
    assert {example.split for example in version.examples} == {"train", "valid", "test"}


def test_a_group_never_straddles_splits_and_its_split_does_not_depend_on_the_others() -> None:
    texts = questions(300)
    everything = made(*(an_example(text, answer) for text in texts for answer in ("yes", "no")))
    some = made(*(an_example(text) for text in texts[::3]))
    split_of: dict[str, str] = {}
    for example in [*everything.examples, *some.examples]:
        assert split_of.setdefault(example.group, example.split) == example.split
        assert example.split == drawn_split(example.group, (0.8, 0.1, 0.1), 0)
    shares = [sum(example.split == split for example in everything.examples) / 600 for split in ("train", "valid", "test")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.06)


def test_another_seed_draws_another_split() -> None:
    groups = [an_example(text).group for text in questions(200)]
    assert [drawn_split(g, (0.5, 0.5, 0), 0) for g in groups] != [drawn_split(g, (0.5, 0.5, 0), 1) for g in groups]


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5), (1.1, -0.1, 0), (0, 0, 0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match="that make 1"):
        made(an_example("a"), shares=shares)


ALTERED = st.sampled_from([str, str.upper, str.title, lambda text: text + "  ", lambda text: " " + text.replace(" ", "\n")])
ROW = st.builds(
    lambda number, alter, answer: an_example(alter(questions(12)[number]), answer),
    st.integers(0, 11),
    ALTERED,
    st.sampled_from(["yes", "no", "YES"]),
)


@given(st.lists(ROW, min_size=1, max_size=40), st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_whatever_comes_in_train_and_the_held_out_splits_never_meet(rows: list[Example], seed: int) -> None:
    version = made(*rows, shares=(0.4, 0.3, 0.3), seed=seed, near_duplicates=None)
    assert find_leaks(version.examples, 0.9) == []
    train = {prompt_text(example.messages) for example in version.examples if example.split == "train"}
    assert train.isdisjoint(prompt_text(example.messages) for example in version.examples if example.split != "train")


def leaky() -> list[Example]:
    train = [an_example(text) for text in questions(30, words=25)]
    equal = an_example(questions(30, words=25)[3].upper(), split="test")
    near = an_example(questions(30, words=25)[4].replace("Question 4", "Question 44"), split="valid")
    return [*train, equal, near, an_example("Something else entirely", split="test")]


def test_a_leak_between_given_files_fails_the_build_and_shows_the_pairs() -> None:
    with pytest.raises(LeakError, match="found 2 pairs .* 1 equal, 1 nearly") as caught:
        build("d", collected(*leaky(), given_splits=True))
    assert "question 44: " in str(caught.value) and "--allow-leaks 2" in str(caught.value)
    assert [(leak.split, leak.similarity == 1.0) for leak in caught.value.leaks] == [("test", True), ("valid", False)]


def test_leaks_can_be_accepted_by_number_or_taken_out_of_train() -> None:
    with pytest.raises(LeakError):
        build("d", collected(*leaky(), given_splits=True), Options(allow_leaks=1))
    accepted = build("d", collected(*leaky(), given_splits=True), Options(allow_leaks=2))
    assert (len(accepted.examples), len(accepted.leaks)) == (33, 2)
    dropped = build("d", collected(*leaky(), given_splits=True), Options(leaks="drop"))
    assert dropped.removed == {"leak: asked in a later split too": 2}
    assert sum(example.split != "train" for example in dropped.examples) == 3, "what is measured on stays whole"
    assert find_leaks(dropped.examples, 0.9) == []


def test_a_prompt_in_valid_and_in_test_leaks_like_one_of_train() -> None:
    asked = questions(4, words=25)
    near = asked[2].replace("Question 2", "Question 22")
    held_out = [an_example(asked[1], split="valid"), an_example(asked[1].upper(), split="test")]
    held_out += [an_example(asked[2], split="valid"), an_example(near, split="test"), an_example(asked[3], split="valid")]
    rows = collected(an_example(asked[0]), *held_out, given_splits=True)
    with pytest.raises(LeakError, match="found 2 pairs .* 1 equal, 1 nearly") as caught:
        build("d", rows)
    assert [(leak.seen_split, leak.split) for leak in caught.value.leaks] == [("valid", "test")] * 2
    dropped = build("d", rows, Options(leaks="drop"))
    assert [(example.split, prompts([example])[0]) for example in dropped.examples if example.split != "test"] == [
        ("train", asked[0]),
        ("valid", asked[3]),
    ]
    assert sum(example.split == "test" for example in dropped.examples) == 2, "test stays whole"


def test_near_duplicates_that_tie_everything_together_are_an_error_not_a_split_of_one() -> None:
    rng = random.Random(0)
    chain = [questions(1, words=100)[0][:300]]
    for step in range(60):
        start = step * 15 % 300
        chain.append(chain[-1][:start] + "".join(rng.choices("abcdefghij", k=15)) + chain[-1][start + 15 :])
    with pytest.raises(UsageError, match="tie .* different prompts to each other"):
        made(*(an_example(text, str(number)) for number, text in enumerate(chain)), near_leaks=0.8)


@given(st.permutations(questions(20)))
@settings(deadline=None, max_examples=20)
def test_the_fingerprint_depends_on_content_not_on_order(texts: list[str]) -> None:
    expected = made(*map(an_example, questions(20))).fingerprint
    assert made(*map(an_example, texts)).fingerprint == expected
    assert made(*map(an_example, texts[:-1])).fingerprint != expected
    assert made(*(an_example(text, "no") for text in texts)).fingerprint != expected


def test_terms_are_those_of_the_upstreams_whose_answers_are_in_the_version() -> None:
    twice = [an_example("Why?").model_copy(update={"source": source}) for source in ("completion:1", "completion:2")]
    rows = collected(*twice, may_train={"open": "yes", "closed": "no: 2c", "unknown": "no: said by hand"})
    rows.upstream_of = {"completion:1": "open", "completion:2": "closed"}
    assert build("d", rows, Options(shares=(1, 0, 0))).may_train == {"open": "yes", "unknown": "no: said by hand"}


def test_nothing_left_says_why() -> None:
    empty = collected()
    empty.left_out("not right by 'exact'", 3)
    with pytest.raises(UsageError, match="Left out: 3 not right by 'exact'"):
        build("d", empty)
