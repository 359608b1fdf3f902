"""What counts as the same prompt."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.chat import Message
from stillhouse.prompts import normalise, prompt_hash, sample_seed


def user(content: object) -> list[Message]:
    return [{"role": "user", "content": content}]


def test_case_width_and_white_space_do_not_matter() -> None:
    assert prompt_hash(user("Ｈello  World\n")) == prompt_hash(user("hello world"))
    assert prompt_hash(user([{"type": "text", "text": "Hello world"}])) == prompt_hash(user("hello world"))


def test_everything_else_does() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,x"}}
    prompts: list[list[Message]] = [
        user("a"),
        user("b"),
        user("a b"),
        user([{"type": "text", "text": "a"}, image]),
        [*user("a"), *user("b")],
        [{"role": "system", "content": "a"}],
        [{"role": "user", "content": "a", "tool_calls": [{"id": "1"}]}],
        [],
    ]
    assert len({prompt_hash(prompt) for prompt in prompts}) == len(prompts)


def test_the_hash_names_its_algorithm() -> None:
    assert prompt_hash(user("a")).startswith("sha256:")


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert prompt_hash(user(text)) == prompt_hash(user(f" {text}\n"))


def test_every_sample_of_every_question_has_a_seed_of_its_own() -> None:
    drawn = [sample_seed(seed, user(f"What is {n}?"), sample) for seed in (0, -1) for n in range(40) for sample in range(8)]
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= each < 2**31 for each in drawn)


def test_a_seed_is_the_same_tomorrow_and_wherever_the_question_stands() -> None:
    # A figure, so that a change of the rule is seen: answers that are kept are found by the requests' bytes.
    assert sample_seed(7, user("What is 1?"), 2) == sample_seed(7, user("  what IS 1?\n"), 2) == 2101344227
