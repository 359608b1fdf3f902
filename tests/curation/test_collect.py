"""Which completions become examples, and what is said about the others."""

from __future__ import annotations

from typing import Any

import pytest

from stillhouse.curation import collect, keep_right
from stillhouse.curation.collect import joined
from stillhouse.dataset import Example
from stillhouse.errors import UsageError
from stillhouse.generation import text_of
from stillhouse.grade import Grade
from stillhouse.sample import Item, Sample
from stillhouse.stores.base import Payload
from tests.curation.examples import a_completion, a_payload, an_example, collected, prompts, said


def one(payload: Payload | None, **fields: Any) -> tuple[list[Example], dict[str, int]]:
    found = collect([a_completion(**fields)], lambda _: payload)
    return found.examples, dict(found.removed)


def test_a_whole_answer_becomes_an_example_that_knows_where_it_came_from() -> None:
    found = collect(
        [a_completion(7, metadata={"task": "why", "reference": "so"}, may_train="no: terms", model="gpt-4o")],
        lambda _: a_payload([{"type": "text", "text": "Why?"}], said("Because so.")),
    )
    (example,) = found.examples
    assert (example.messages, example.answer) == ([{"role": "user", "content": "Why?"}], "Because so.")
    assert (example.reference, example.metadata) == ("so", {"task": "why"})
    assert example.source == f"completion:chatcmpl-{7:032x}"
    assert found.teacher_of == {example.source: "gpt-4o"}
    assert found.may_train == {"openai": "no: terms"}


def test_a_stream_is_put_together() -> None:
    chunks = b'data: {"choices":[{"index":0,"delta":{"content":"Be"}}]}\n\n'
    chunks += b'data: {"choices":[{"index":0,"delta":{"content":"cause"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    examples, _ = one(Payload(request=a_payload().request, response=chunks), stream=True)
    assert [example.answer for example in examples] == ["Because"]


def test_every_choice_is_an_example() -> None:
    examples, _ = one(a_payload("Why?", said("So."), said("Thus.")))
    assert [(example.answer, (example.source or "")[-2:]) for example in examples] == [("So.", "01"), ("Thus.", "#1")]
    assert len({example.group for example in examples}) == 1


@pytest.mark.parametrize("state", ["started", "truncated", "malformed", "interrupted", "failed"])
def test_only_complete_rows_are_taken(state: str) -> None:
    assert one(a_payload("Why?", said("So.")), state=state) == ([], {f"{state}, not complete": 1})


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "its bytes are gone"),
        (a_payload("Why?", {**said("So"), "finish_reason": "length"}), "its answer ended by 'length'"),
        (a_payload("Why?", said("")), "its answer is empty"),
        (a_payload("Why?", said("a\0")), "it holds a NUL character"),
        (a_payload("Why?", {"message": {"tool_calls": [{"id": "c"}]}}), "its answer is a tool call, without text"),
    ],
)
def test_what_teaches_nothing_is_left_out_by_name(payload: Payload | None, reason: str) -> None:
    assert one(payload) == ([], {reason: 1})


def test_half_a_character_in_a_prompt_leaves_out_that_row_alone() -> None:
    half = Payload(
        request=b'{"messages":[{"role":"user","content":"\\ud83d"}]}', response=a_payload("Why?", said("So.")).response
    )
    payloads = {f"chatcmpl-{1:032x}": half, f"chatcmpl-{2:032x}": a_payload("Why?", said("So."))}
    found = collect([a_completion(1), a_completion(2)], payloads.get)
    assert prompts(found.examples) == ["Why?"]
    assert found.removed == {"it holds half of a surrogate pair": 1}


def test_a_choice_without_a_message_object_leaves_out_that_row_alone() -> None:
    assert one(a_payload("Why?", {"message": "So."})) == ([], {"its answer is empty": 1})


def test_text_parts_are_joined_as_a_student_will_read_them() -> None:
    parts = [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]
    examples, _ = one(a_payload(parts, said("So.")))
    assert prompts(examples) == [text_of({"role": "user", "content": parts})]


def test_a_student_is_not_its_own_teacher() -> None:
    rows = [a_completion(1, upstream="student-1"), a_completion(2)]
    found = collect(rows, lambda _: a_payload("Why?", said("So.")), not_by={"student-1"})
    assert (len(found.examples), found.removed) == (1, {"answered by a student": 1})


@pytest.mark.parametrize("flags", [("no: terms", "yes"), ("yes", "no: terms")])
def test_terms_that_forbid_training_are_not_forgotten_when_they_change(flags: tuple[str, str]) -> None:
    rows = [a_completion(number, may_train=flag) for number, flag in enumerate(flags)]
    found = collect(rows, lambda _: a_payload("Why?", said("So.")))
    assert found.may_train == {"openai": "no: terms"}
    parts = [collected(may_train={"openai": flag}) for flag in flags]
    assert joined(parts).may_train == {"openai": "no: terms"}


class Equal:
    name = "equal"

    async def grade(self, item: Item, sample: Sample) -> Grade:
        right = item["reference"] == sample["output_text"]
        return Grade(score=float(right), passed=right)


async def test_only_right_answers_are_kept_when_asked() -> None:
    right, wrong = an_example("a", "1", reference="1"), an_example("b", "1", reference="2")
    kept = await keep_right(collected(right, wrong, an_example("c", "1")), Equal())
    assert kept.examples == [right]
    assert kept.removed == {"not right by 'equal'": 1, "no reference to grade against": 1}


async def test_grading_without_any_reference_is_an_error_that_says_how_to_give_one() -> None:
    with pytest.raises(UsageError, match="metadata 'reference'"):
        await keep_right(collected(an_example("a")), Equal())
