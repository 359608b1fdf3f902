from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.formula import DEEPEST, Formula, FormulaError

NUMBERS = {"a": 2.0, "b": 3.0, "c": -0.5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 2),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("2 ^ 3 ^ 2", 512),
        ("2 ** 3", 8),
        ("-2 ^ 2", -4),
        ("2 ^ -1", 0.5),
        ("7 // 2 + 7 % 4", 6),
        ("--a", 2),
        (".5 + 1e-1 + 2.", 2.6),
        ("min(a, b, c) + max(a, b) + abs(c)", 3),
        ("floor(1.7) + ceil(1.2) + sqrt(9)", 6),
        ("exp(0) + log(1)", 1),
        ("0.8 * a + 0.2 * max(b, 0.5)", 2.2),
    ],
)
def test_values(text: str, value: float) -> None:
    assert Formula.parse(text).value(NUMBERS) == pytest.approx(value)


def test_it_knows_the_numbers_that_it_needs() -> None:
    assert Formula.parse("min(a, b) + 1 * a").names == {"a", "b"}
    assert Formula.parse("1").names == set()


@pytest.mark.parametrize(
    "text",
    ["", " ", "1 +", "* 1", "(1", "1)", "1 2", "a b", "min()", "abs(1, 2)", "eval(1)", "a.b", "a[0]", "'a'", "a = 1", "lambda: 1"]
    + [
        "__import__('os')",
        "1 if a else 2",
        "a and b",
        "1,2",
        "(" * (DEEPEST + 1) + "1" + ")" * (DEEPEST + 1),
        "-" * 4000 + "1",
        "x" * 5000,
    ],
)
def test_what_is_no_formula_is_an_error(text: str) -> None:
    with pytest.raises(FormulaError):
        Formula.parse(text)


@pytest.mark.parametrize(
    "text", ["1 / 0", "1 % 0", "log(0)", "sqrt(0 - 1)", "exp(1000)", "10 ^ 999", "(0 - 1) ^ 0.5", "0 ^ -1", "d"]
)
def test_a_formula_without_a_value_is_an_error(text: str) -> None:
    with pytest.raises(FormulaError):
        Formula.parse(text).value(NUMBERS)


def test_a_long_sum_is_no_deep_one() -> None:
    assert Formula.parse("+".join(["1"] * 2000)).value({}) == 2000


LEAVES = st.one_of(
    st.floats(0, 100, allow_nan=False).map(lambda number: (repr(number), number)),
    st.sampled_from(sorted(NUMBERS.items())),
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Text and value, by Python's own arithmetic."""
    binary = st.sampled_from(["+", "-", "*"])
    operations: dict[str, Any] = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
    return st.one_of(
        st.tuples(inner, binary, inner).map(
            lambda it: (f"({it[0][0]} {it[1]} {it[2][0]})", operations[it[1]](it[0][1], it[2][1]))
        ),
        st.tuples(inner, inner).map(lambda it: (f"min({it[0][0]},{it[1][0]})", min(it[0][1], it[1][1]))),
        inner.map(lambda it: (f"-abs({it[0]})", -abs(it[1]))),
    )


@given(st.recursive(LEAVES, grown, max_leaves=12))
def test_it_computes_as_python_does(given_: tuple[str, float]) -> None:
    text, value = given_
    if math.isfinite(value):
        assert Formula.parse(text).value(NUMBERS) == value


@given(st.text(alphabet="ab1.2+-*/^%(), minlog", max_size=40))
def test_any_text_has_a_value_or_is_an_error(text: str) -> None:
    with contextlib.suppress(FormulaError):
        assert math.isfinite(Formula.parse(text).value(NUMBERS))
