"""Small makers of what curation takes in."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from stillhouse.completion import Completion
from stillhouse.curation import Collected
from stillhouse.curation.collect import example_of
from stillhouse.dataset import Example, Split
from stillhouse.formats.base import Row
from stillhouse.stores.base import Payload


def an_example(prompt: str, answer: str = "yes", *, split: Split = "train", reference: str | None = None) -> Example:
    row = Row(line=1, messages=[{"role": "user", "content": prompt}], answer=answer, reference=reference)
    return example_of(row, source=f"file:test:{prompt[:20]}", split=split)


def collected(*examples: Example, given_splits: bool = False, may_train: dict[str, str] | None = None) -> Collected:
    return Collected(examples=list(examples), given_splits=given_splits, may_train=may_train or {})


def prompts(examples: Iterable[Example]) -> list[str]:
    return [example.messages[-1]["content"] for example in examples]


def a_completion(number: int = 1, **fields: object) -> Completion:
    values: dict[str, object] = {
        "id": f"chatcmpl-{number:032x}",
        "created": 0,
        "state": "complete",
        "instance": "i",
        "requested_model": "teacher",
        "model": "teacher",
        "upstream": "openai",
        "finish_reason": "stop",
        **fields,
    }
    return Completion.model_validate(values)


def a_payload(question: object = "Why?", *choices: dict[str, object], **beside: object) -> Payload:
    request = {"model": "teacher", "messages": [{"role": "user", "content": question}], **beside}
    listed = [{"index": index, "finish_reason": "stop", **choice} for index, choice in enumerate(choices)]
    return Payload(request=orjson.dumps(request), response=orjson.dumps({"choices": listed}))


def said(text: object) -> dict[str, object]:
    return {"message": {"role": "assistant", "content": text}}
