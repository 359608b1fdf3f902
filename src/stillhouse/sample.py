"""What a grader judges: an item (what was asked) and a sample (what a model said to it), as OpenAI's graders name them.

Both are plain JSON objects, because graders that users write see them as they are. An example of a dataset becomes an item here,
a model's response a sample; evaluations over other rows bring their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse.chat import ChatResponse, parse_json
from stillhouse.dataset import Example
from stillhouse.transcript import message_text

Item = Mapping[str, Any]
"""The data: `{{item.NAME}}` in templates."""
Sample = Mapping[str, Any]
"""The answer: `output_text`, `output_json` where the text is JSON, `output_tools` where tools were called, `choices`."""


def expected(example: Example) -> str:
    """What an answer is compared with: the reference where somebody knows it, or else the example's own answer."""
    return example.answer if example.reference is None else example.reference


def item_of(example: Example) -> dict[str, Any]:
    """A dataset's example as an item: `messages`, `question` (the last message's text), `reference`, `metadata`, `tools`."""
    return {
        "question": message_text(example.messages[-1]) if example.messages else "",
        "messages": example.messages,
        "reference": expected(example),
        "metadata": example.metadata,
        "tools": example.tools or [],
    }


def sample_of(text: str) -> dict[str, Any]:
    """A text as a sample, as if it had been the whole answer."""
    return {"output_text": text, **_json(text), "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


def sample_of_response(response: ChatResponse) -> dict[str, Any]:
    """A model's response as a sample: the first choice's text and tool calls, and all choices as they came."""
    message = next((choice.get("message") for choice in response.choices), None)
    tools = message.get("tool_calls") if isinstance(message, dict) else None
    called = {"output_tools": tools} if isinstance(tools, list) else {}
    return {"output_text": response.text, **_json(response.text), **called, "choices": response.choices}


def _json(text: str) -> dict[str, Any]:
    try:
        return {"output_json": parse_json(text.encode())}
    except ValueError:  # a lone surrogate is one, too
        return {}
