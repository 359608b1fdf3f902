"""One thing to be judged: an item, and the question to ask about it, or the sample that is there already.

A dataset's example and a row of an eval's data become the same shape, so that one verb answers and grades both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stillhouse.answers import final_answer
from stillhouse.chat import ChatRequest, ChatResponse, Message
from stillhouse.dataset import Example
from stillhouse.errors import FormatError
from stillhouse.eval_config import InputMessages, ItemReference
from stillhouse.records import canonical_json, fingerprint
from stillhouse.sample import Item, Sample, expected, item_of, sample_of_response
from stillhouse.templates import Variable, fill

LONGEST_LABEL = 64
"""Characters; a longer reference is no label."""
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Case:
    id: str
    """The same for the same item in every run, so that two runs are compared row by row."""
    item: Item
    request: ChatRequest | None = None
    """None: nothing is asked."""
    sample: Sample = field(default_factory=dict)
    """The answer that is there, where nothing is asked."""
    error: str | None = None
    """Why nothing can be asked about it."""
    label: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    completion: str | None = None
    """The stored completion that it was made of."""


def case_id(item: Item, times: Counter[str]) -> str:
    """A hash of the item, numbered where the same item comes again; `times` counts that, over one run's rows."""
    digest = fingerprint(canonical_json(dict(item))).removeprefix("sha256:")[:32]
    times[digest] += 1
    return digest if times[digest] == 1 else f"{digest}-{times[digest]}"


def case_of(example: Example, request: ChatRequest, teacher: str | None = None) -> Case:
    """A dataset's example, and the request that asks it. `teacher`: the teacher's answer, where graders may see it."""
    theirs = {} if teacher is None else {"teacher": teacher}
    item = {**item_of(example), **theirs}
    return Case(example.id, item, request=request, label=label_of(example), metadata=example.metadata)


def label_of(example: Example) -> str | None:
    """The final answer of what is expected, when it is short enough to be a label."""
    label = final_answer(expected(example))
    return label if 0 < len(label) <= LONGEST_LABEL else None


def with_output_text(sample: Sample) -> Sample:
    """A sample that came with its row; one that holds choices alone gets what graders look at."""
    if "output_text" in sample or not isinstance(sample.get("choices"), list):
        return sample
    return {**sample_of_response(ChatResponse.build({"choices": sample["choices"]})), **sample}


def described(response: ChatResponse, messages: Sequence[Message], model: str) -> dict[str, Any]:
    """A response as a sample, with what is shown of it: the input, who answered, how it ended, what it took."""
    choice = response.choices[0] if response.choices else {}
    return {
        **sample_of_response(response),
        "input": list(messages),
        "model": response.body.get("model") or model,
        "finish_reason": choice.get("finish_reason"),
        "usage": response.body.get("usage"),
    }


def messages_for(wanted: InputMessages | None, item: Item) -> list[Message]:
    """The chat to send about an item. Without a template the item's own `input` or `messages` are it.

    Raises FormatError for an item that holds none, VariableError for a variable that it lacks.
    """
    if wanted is None:
        name = next((name for name in ("input", "messages") if name in item), "input")
        return _chat(item.get(name), f"item.{name}")
    if isinstance(wanted, ItemReference):
        return _chat(Variable.parse(wanted.item_reference).value({"item": item}), wanted.item_reference)
    return [{"role": message.role, "content": _content(fill(message.content, {"item": item}))} for message in wanted.template]


def _chat(value: object, where: str) -> list[Message]:
    if isinstance(value, str) and value:
        return [{"role": "user", "content": value}]
    messages = value if isinstance(value, list) else []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise FormatError(f"{where} holds no chat: expected messages of {', '.join(ROLES)}, got {_shown(message)}.")
    if not messages:
        raise FormatError(f"{where} holds no chat: expected a text or a list of messages, got {_shown(value)}.")
    return [{**_without_type(message), "content": _content(message.get("content"))} for message in messages]


def _without_type(message: Message) -> Message:
    return {key: value for key, value in message.items() if key not in ("type", "id", "status") and value is not None}


def _content(content: Any) -> Any:
    """A message's content in the words of chat completions; one text part alone is a plain text."""
    if isinstance(content, list):
        parts = [_part(part) for part in content]
        return parts if any(part.get("type") != "text" for part in parts) else "\n".join(str(part["text"]) for part in parts)
    if isinstance(content, dict):
        part = _part(content)
        return str(part["text"]) if part.get("type") == "text" else [part]
    return content


def _part(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        return {"type": "text", "text": str(part)}
    if part.get("type") in ("input_text", "output_text", "text"):
        return {"type": "text", "text": part.get("text", "")}
    if part.get("type") == "input_image":
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part.get("image_url", ""), **detail}}
    return part


def _shown(value: object) -> str:
    return repr(value)[:80]
