"""Evals and runs that cannot be, by the official SDK: refused where they are made, with the field that is wrong."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.sdk.sums import CRITERIA, CUSTOM, RIGHT, asking, item, server, start, upstream

__all__ = ["server", "upstream"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"data_source_config": {"type": "nothing"}}, "data_source_config"),
    ({"data_source_config": {"type": "custom"}}, "data_source_config.item_schema"),
    ({"data_source_config": {"type": "custom", "item_schema": {"type": "nothing"}}}, "data_source_config.item_schema"),
    ({"testing_criteria": []}, "testing_criteria"),
    ({"testing_criteria": [RIGHT, {**RIGHT, "operation": "is"}]}, "testing_criteria.1.operation"),
    ({"testing_criteria": [{"type": "nothing", "name": "x"}]}, "testing_criteria.0.type"),
    ({"testing_criteria": [{**RIGHT, "reference": "{{itme.a}}"}]}, "testing_criteria.0.reference"),
    (
        {"testing_criteria": [{key: CRITERIA[1][key] for key in CRITERIA[1] if key != "pass_threshold"}]},
        "testing_criteria.0.pass_threshold",
    ),
    (
        {"testing_criteria": [{"type": "python", "name": "p", "source": "def grade(:", "pass_threshold": 1}]},
        "testing_criteria.0",
    ),
    ({"metadata": {"k": "v" * 513}}, "metadata.k"),
]


@pytest.mark.parametrize(("changes", "param"), BAD)
def test_an_eval_that_cannot_be_is_refused_where_it_is_wrong(client: openai.OpenAI, changes: dict[str, Any], param: str) -> None:
    wish: dict[str, Any] = {"data_source_config": CUSTOM, "testing_criteria": [RIGHT], **changes}
    with pytest.raises(openai.BadRequestError) as refused:
        client.evals.create(**wish)
    assert refused.value.param == param, refused.value.message


BAD_RUNS: list[tuple[dict[str, Any], str]] = [
    ({"type": "nothing"}, "data_source"),
    ({"model": "nobody"}, "data_source.model"),
    ({"source": {"type": "file_id", "id": "file-none"}}, "data_source.source.id"),
    ({"source": {"type": "file_content", "content": []}}, "data_source.source.content"),
    ({"source": {"type": "file_content", "content": [{"item": item(1)}, {"item": {"q": 3, "a": "x"}}]}},
     "data_source.source.content.1.item.q"),
    ({"source": {"type": "file_content", "content": [{"sample": {}}]}}, "data_source.source.content.0.item"),
    ({"input_messages": {"type": "template", "template": [{"role": "robot", "content": "x"}]}},
     "data_source.input_messages.template.0.role"),
    ({"input_messages": {"type": "item_reference", "item_reference": "sample.x"}}, "data_source.input_messages.item_reference"),
    ({"sampling_params": {"temperature": "hot"}}, "data_source.sampling_params.temperature"),
    ({"model": None}, "data_source.model"),
]  # fmt: skip


def test_a_run_that_cannot_be_is_refused_where_it_is_wrong(client: openai.OpenAI) -> None:
    made = client.evals.create(data_source_config=CUSTOM, testing_criteria=[RIGHT])
    for changes, param in BAD_RUNS:
        with pytest.raises(openai.BadRequestError) as refused:
            start(client, made.id, {**asking("teacher", 2), **changes})
        assert refused.value.param == param, refused.value.message
    assert client.evals.runs.list(made.id).data == []
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.create("eval-none", data_source=asking("teacher", 2))
