"""What goes over the wire, or into the spool, comes out as it went in."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import NotFoundError, StoreBusyError, StoreError, UsageError
from stillhouse.stores import wire

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["$bytes", "$object"]) | st.text(), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(values)
def test_a_value_comes_back_equal(value: Any) -> None:
    assert wire.loads(wire.dumps(value)) == value


@settings(deadline=None)
@given(st.text(st.characters(categories=["Cs"]), min_size=1))
def test_lone_surrogates_become_replacement_characters(text: str) -> None:
    ((key, value),) = wire.loads(wire.dumps({text: text})).items()
    assert set(key) == set(value) == {"\ufffd"}


def test_an_error_comes_back_as_its_kind() -> None:
    for error in (UsageError("a"), NotFoundError("b"), StoreBusyError("c")):
        back = wire.error_from_json(wire.error_to_json(error))
        assert (type(back), str(back)) == (type(error), str(error))
    assert type(wire.error_from_json(wire.error_to_json(ValueError("x")))) is StoreError
    assert type(wire.error_from_json({"kind": "NewKindError", "message": "x"})) is StoreError
