from __future__ import annotations

from stillhouse.chat import ChatResponse
from stillhouse.dataset import Example
from stillhouse.sample import item_of, sample_of, sample_of_response


def test_an_example_is_an_item_whose_reference_is_what_answers_are_compared_with() -> None:
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    example = Example(id="e", messages=asked, answer="four", metadata={"topic": "sums"})
    assert item_of(example) == {
        "question": "2 + 2?",
        "messages": asked,
        "reference": "four",
        "metadata": {"topic": "sums"},
        "tools": [],
    }
    assert item_of(example.model_copy(update={"reference": "4"}))["reference"] == "4"


def test_a_text_that_is_json_is_there_as_json_too() -> None:
    assert sample_of('{"a": [1]}')["output_json"] == {"a": [1]}
    assert sample_of("5")["output_json"] == 5
    assert "output_json" not in sample_of("five")
    assert "output_json" not in sample_of("")


def test_a_response_is_a_sample_with_its_choices_and_tool_calls() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    assert sample_of_response(ChatResponse.build({"choices": [choice]})) == {
        "output_text": "",
        "output_tools": [call],
        "choices": [choice],
    }
    assert sample_of_response(ChatResponse.build({"choices": []})) == {"output_text": "", "choices": []}
