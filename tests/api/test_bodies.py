from __future__ import annotations

from typing import Any

import pytest

from stillhouse.api.bodies import parse_value
from stillhouse.errors import InvalidParameterError
from stillhouse.eval_config import DataSource, JsonlSource
from stillhouse.records import Record


class Wish(Record):
    data_source: DataSource


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({}, "data_source"),
        ({"data_source": {"type": "other"}}, "data_source"),
        ({"data_source": {"type": "jsonl"}}, "data_source.source"),
        ({"data_source": {"type": "jsonl", "source": {"type": "file_id"}}}, "data_source.source.id"),
        ({"data_source": {"type": "jsonl", "source": {"type": "file_id", "id": "f", "more": 1}}}, "data_source.source.more"),
        (
            {"data_source": {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}, {"item": 3}]}}},
            "data_source.source.content.1.item",
        ),
        ({"data_source": 3}, "data_source"),
    ],
)
def test_what_is_wrong_is_named_by_its_place_in_the_body_not_by_the_kind_that_was_tried(value: Any, param: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        parse_value(Wish, value)
    assert refused.value.param == param


def test_what_is_right_is_parsed() -> None:
    wish = parse_value(Wish, {"data_source": {"type": "jsonl", "source": {"type": "file_id", "id": "f"}}})
    assert isinstance(wish.data_source, JsonlSource)
