from __future__ import annotations

from typing import Any

import pytest

from stillhouse.errors import FormatError
from stillhouse.eval_config import ContentRow, CustomConfig, LogsConfig
from stillhouse.evaluation.schemas import RowError, check_schema, checked, schema_of

ITEM = {
    "type": "object",
    "properties": {"q": {"type": "string"}, "n": {"type": "array", "items": {"type": "integer"}}},
    "required": ["q"],
}


def config(schema: dict[str, Any], *, sample: bool = False) -> CustomConfig:
    return CustomConfig(type="custom", item_schema=schema, include_sample_schema=sample)


def rows(*items: dict[str, Any]) -> list[ContentRow]:
    return [ContentRow(item=item) for item in items]


def test_rows_that_fit_pass_in_order() -> None:
    given = rows({"q": "a"}, {"q": "b", "n": [1], "more": None})
    assert list(checked(given, config(ITEM), in_run=False)) == given


@pytest.mark.parametrize(
    ("item", "place"),
    [({}, "1.item"), ({"q": 3}, "1.item.q"), ({"q": "x", "n": [1, "2"]}, "1.item.n.1")],
)
def test_the_first_that_does_not_is_named_with_its_place(item: dict[str, Any], place: str) -> None:
    with pytest.raises(RowError, match="Row 1 ") as refused:
        list(checked(rows({"q": "a"}, item), config(ITEM), in_run=True))
    assert refused.value.place == place


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"properties": []}, {"required": "q"}, {"minimum": "x"}])
def test_what_is_no_schema_is_told(schema: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="no JSON schema"):
        check_schema(schema)


HOSTILE: list[dict[str, Any]] = [
    {"properties": {"q": {"pattern": "^(a+)+$"}}},
    {"patternProperties": {"^(a+)+$": {}}},
    {"$ref": "#"},
    {"$ref": "http://169.254.169.254/schema"},
]


@pytest.mark.parametrize("schema", HOSTILE)
def test_a_schema_that_could_keep_the_server_busy_is_left_to_the_run(schema: dict[str, Any]) -> None:
    given = rows({"q": "a" * 40 + "!"})
    assert list(checked(given, config(schema), in_run=False)) == given


@pytest.mark.parametrize("schema", HOSTILE[2:])
def test_nothing_is_fetched_and_nothing_goes_round_for_ever(schema: dict[str, Any]) -> None:
    with pytest.raises(RowError, match="cannot be used"):
        list(checked(rows({"q": "a"}), config(schema), in_run=True))


def test_what_an_eval_shows_of_its_schema() -> None:
    assert schema_of(config(ITEM)) == {"type": "object", "properties": {"item": ITEM}, "required": ["item"]}
    for of in (config(ITEM, sample=True), LogsConfig(type="logs", metadata={"a": "b"})):
        shown = schema_of(of)
        assert shown["required"] == ["item", "sample"]
        assert "output_text" in shown["properties"]["sample"]["properties"]


def test_stored_rows_are_not_checked() -> None:
    given = rows({"anything": 1})
    assert list(checked(given, LogsConfig(type="logs"), in_run=True)) == given
