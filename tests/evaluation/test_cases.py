from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from stillhouse.errors import FormatError
from stillhouse.eval_config import ItemReference, MessagesTemplate
from stillhouse.evaluation.cases import case_id, messages_for, with_output_text
from stillhouse.templates import VariableError

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def template(*messages: dict[str, Any]) -> MessagesTemplate:
    return MessagesTemplate.model_validate({"type": "template", "template": messages})


def reference(path: str) -> ItemReference:
    return ItemReference(type="item_reference", item_reference=path)


def test_equal_items_have_equal_ids_in_every_run_and_repeated_ones_are_numbered() -> None:
    items: list[dict[str, Any]] = [{"a": 1, "b": 2}, {"a": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2}]
    first, second = Counter[str](), Counter[str]()
    ids = [case_id(item, first) for item in items]
    assert ids == [case_id(item, second) for item in items]
    assert len(set(ids)) == 4
    assert ids[2] == f"{ids[0]}-2" and ids[3] == f"{ids[0]}-3"


def test_a_template_is_filled_in_once_and_parts_become_those_of_chat_completions() -> None:
    wanted = template(
        {"role": "developer", "content": "You know {{item.topic}}.", "type": "message"},
        {"role": "user", "content": {"type": "input_text", "text": "{{item.q}}"}},
        {"role": "user", "content": [{"type": "input_image", "image_url": "{{item.image}}", "detail": "low"}, "What is it?"]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]},
    )
    assert messages_for(wanted, {"topic": "sums", "q": "{{item.topic}} + 1?", "image": "data:image/png;base64,AA"}) == [
        {"role": "developer", "content": "You know sums."},
        {"role": "user", "content": "{{item.topic}} + 1?"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
                {"type": "text", "text": "What is it?"},
            ],
        },
        {"role": "assistant", "content": "a\nb"},
    ]


@pytest.mark.parametrize(
    ("path", "item"),
    [
        ("item.input", {"input": CHAT}),
        ("item.deep[0].chat", {"deep": [{"chat": CHAT}]}),
        ("item.input", {"input": [{**message, "type": "message", "id": "m1"} for message in CHAT]}),
    ],
)
def test_a_reference_is_the_items_own_chat(path: str, item: dict[str, Any]) -> None:
    assert messages_for(reference(path), item) == CHAT


def test_without_a_template_the_items_input_is_asked() -> None:
    assert messages_for(None, {"input": "Why?"}) == [{"role": "user", "content": "Why?"}]
    assert messages_for(None, {"messages": CHAT}) == CHAT


@pytest.mark.parametrize("value", [None, [], "", 3, [{"role": "robot", "content": "x"}], ["x"], {"role": "user"}])
def test_what_is_no_chat_is_told(value: object) -> None:
    with pytest.raises(FormatError, match="item.input"):
        messages_for(reference("item.input"), {"input": value})


def test_a_variable_that_the_item_lacks_is_told() -> None:
    with pytest.raises(VariableError, match="item.q"):
        messages_for(template({"role": "user", "content": "{{item.q}}"}), {"question": "?"})
    with pytest.raises(VariableError):
        messages_for(reference("item.input"), {})


def test_a_sample_of_choices_alone_has_a_text_and_one_with_a_text_keeps_it() -> None:
    choices = [{"index": 0, "message": {"role": "assistant", "content": '{"a": 1}'}}]
    assert with_output_text({"choices": choices, "model": "m"}) == {
        "choices": choices, "model": "m", "output_text": '{"a": 1}', "output_json": {"a": 1}
    }  # fmt: skip
    assert with_output_text({"choices": choices, "output_text": "said"})["output_text"] == "said"
    assert with_output_text({}) == {}
