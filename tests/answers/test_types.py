"""Each type of answer: its own rules, and what every type must do."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stillhouse.answers import ANSWERS, answer_type
from stillhouse.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "text", "candidates"),
    [
        ("paper_number", "It is $1,234.50.", ["1234.50"]),
        ("paper_number", "70. \n\nI hope this helps!", ["70"]),
        ("paper_number", "3, 4", ["3", "4"]),
        ("paper_number", "1,2", ["12"]),
        ("paper_number", "10-5 = 5", ["10", "-5", "5"]),
        ("number", "1,2", ["1", "2"]),
        ("number", "10-5 = 5", ["10", "5", "5"]),
        ("number", "about -.5 or \u22123 or １２", ["-.5", "-3", "12"]),
        ("number", "12,345,678.9 and 12,34", ["12,345,678.9", "12", "34"]),
        ("choice", "Answer: (B)", ["A", "B"]),
        ("choice:A-C", "D, E or (C)", ["C"]),
        ("choice:BD", "ABCD", ["B", "D"]),
        ("yes_no", '"Yes". No, yesterday: no', ["yes", "no", "no"]),
        ("yes_no", "yes; no!", []),
        ("letters", ' "y a.j\no".', ["yajo"]),
        ("text", "So the answer is **card_arrival**.", ["card_arrival"]),
        ("text", "", []),
        (
            "date",
            "From 05/01/2021 to May 3rd, 2021, or 4 June 2021; not 13/32/2021.",
            ["05/01/2021", "May 3rd, 2021", "4 June 2021"],
        ),
        ("date", "2020-02-30 and 2020-02-29", ["2020-02-29"]),
        ("latex", r"So \boxed{\frac{1}{2}} and \boxed{x^{2}}", [r"\frac{1}{2}", "x^{2}"]),
        ("latex", r"\fbox{70}\%", ["70"]),
        ("latex", r"Here $a+b$ is \(c\).", ["a+b", "c"]),
        ("latex", r"\boxed{never closed", [r"\boxed{never closed"]),
    ],
)
def test_candidates(kind: str, text: str, candidates: list[str]) -> None:
    assert answer_type(kind).candidates(text) == candidates


@pytest.mark.parametrize(
    ("kind", "got", "want", "same"),
    [
        ("number", "$1,000.00", "1000", True),
        ("number", "0.9166666666666667", "0.9166666666666666", True),
        ("number", "0.83", "0.8333333333333334", False),
        ("number", "-5", "5", False),
        ("number", "seven", "seven", False),
        ("number", "1e400000000", "1", False),
        ("number", "NaN", "NaN", False),
        ("choice:A-F", "f", "(F)", True),
        ("choice", "B", "B) 17", True),
        ("choice", "", "", False),
        ("yes_no", "YES", "yes", True),
        ("letters", "Yajo", "yajo", False),
        ("text", "Card arrival!", "card  arrival", True),
        ("date", "May 1, 2021", "2021-05-01", True),
        ("date", "25/12/2021", "12/25/2021", True),
        ("date", "05/01/2021", "2021-01-05", False),
        ("latex", r"\boxed{\dfrac{1}{2}}", "0.50", True),
        ("latex", r"\frac12", "1/2", True),
        ("latex", r"50\%", r"\frac{1}{2}", True),
        ("latex", r"x = 1{,}000", "1000", True),
        ("latex", r"\text{East}", "east", True),
        ("latex", r"\left( 3, \frac{\pi}{2} \right)", r"(3,\pi/2)", True),
        ("latex", "3/0", "3/0", True),
        ("latex", "2", "3", False),
    ],
)
def test_equality(kind: str, got: str, want: str, same: bool) -> None:
    assert answer_type(kind).equal(got, want) is same
    assert answer_type(kind).equal(want, got) is same


@pytest.mark.parametrize("kind", ANSWERS.names())
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    | st.from_regex(r"[-+$,.0-9a-c/\\{}= ]{0,12}", fullmatch=True)
)
@example(text="9" * 5000)
@example(text="-1e999999999")
@example(text=r"\frac{" * 50)
def test_no_text_is_too_odd_and_canonical_forms_are_settled(kind: str, text: str) -> None:
    rules = answer_type(kind)
    for found in [*rules.candidates(text), text]:
        form = rules.canonical(found)
        assert rules.canonical(form) == form
        rules.equal(found, text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12), st.booleans())
def test_a_number_is_found_however_it_is_written(number: object, paper: bool) -> None:
    rules = answer_type("paper_number" if paper else "number")
    [found] = (
        rules.candidates(f"It costs ${number:,f} a piece.") if str(number)[0] != "-" else rules.candidates(f"It is {number:f}.")
    )
    assert rules.equal(found, f"{number:f}")
    assert rules.canonical(found) == rules.canonical(f"{number:f}")


def test_choices_that_are_none() -> None:
    with pytest.raises(UsageError, match="choice:A-F"):
        answer_type("choice:a-f")
    with pytest.raises(UsageError, match="There is no answer type"):
        answer_type("vowel")
