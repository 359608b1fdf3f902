"""Splicing changes one value and no other byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.splice import find_value, replace_value

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(st.dictionaries(st.text(), json_values, max_size=5), scalars, st.booleans(), st.sampled_from([None, 2]))
def test_replaced_value_is_the_only_difference(body: dict[str, Any], old: Any, ascii_only: bool, indent: int | None) -> None:
    body["id"] = old
    raw = json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    changed = replace_value(raw, "id", b'"ours"')
    span = find_value(raw, "id")
    assert span is not None
    assert changed == raw[: span[0]] + b'"ours"' + raw[span[1] :]
    assert json.loads(changed.decode("utf-8", "surrogatepass")) == {**body, "id": "ours"}


@given(st.dictionaries(st.text().filter(lambda key: key != "id"), json_values, max_size=4))
def test_absent_key_is_put_first(body: dict[str, Any]) -> None:
    changed = replace_value(json.dumps(body).encode(), "id", b'"ours"')
    assert json.loads(changed) == {**body, "id": "ours"}


def test_nested_ids_are_left_alone() -> None:
    raw = b'{"choices": [{"id": "call_1", "x": {"id": 2}}], "id" : "theirs", "y": "\\"id\\": \\"z\\""}'
    assert replace_value(raw, "id", b'"ours"') == raw.replace(b'"theirs"', b'"ours"')


def test_value_that_looks_like_the_key() -> None:
    assert replace_value(b'{"object":"id","id":"a"}', "id", b'"b"') == b'{"object":"id","id":"b"}'


@pytest.mark.parametrize("raw", [b"", b"[1]", b"nope"])
def test_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="JSON object"):
        replace_value(raw, "id", b"1")
