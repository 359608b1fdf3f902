"""What counts as the same prompt."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.chat import Message
from stillhouse.prompts import normalise, prompt_hash


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
