"""Which candidate is the answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.answers import Place, answer_type, extract, published_equal
from stillhouse.reasoning import TASKS
from stillhouse.reasoning.templates import place_of

PIECES = st.sampled_from(
    [
        *"ABCDEFGabcdef 0123456789.,-+$%()[]:;\n'\"",
        "Yes",
        "no",
        "NO.",
        "1,000",
        "-3.5",
        "$1.50",
        "(B)",
        "dollars",
        "Answer",
        "\u2212",
    ]
)


@pytest.mark.parametrize(
    ("template", "text", "answer"),
    [
        ("zs_cot", " 12, or 13.", "12"),
        ("zs", "none", None),
        ("fs_cot", "5 and 6 are 11. The answer is 11.", "11"),
        ("fs_cot", "The answer is 3? No. The answer is 4. It has 9 lives.", "4"),
        ("fs_cot", "First 5, then 6", "6"),
        ("fs_cot", "The answer is 4.\n\nQ: And 7?\nA: The answer is 8.", "4"),
        ("ft_cot_token", " 2 and 3 make 5 --> 5 END", "5"),
        ("ft_cot_token", " 2 and 3 make 5", "5"),
        ("ft_cot_token", " 2 --> none", None),
        ("ft_cot_natural", " 2 and 3.\n\nTherefore the answer is 5", "5"),
        ("ft_cot_natural", " 2 and 3.\n\nTherefore, the answer is 5, not 6", "5"),
        ("ft_token", " 7 END 8", "7"),
        ("chat", "3 + 4 = 7.\n\n**Answer:** 7", "7"),
        ("chat", "I would say 3, then 4", "4"),
        ("chat", "The answer is unclear: 3 or 4", "3"),
        ("chat", "", None),
    ],
)
def test_where_the_answer_stands(template: str, text: str, answer: str | None) -> None:
    assert extract(text, answer_type("number"), place_of(template)) == answer


def test_a_stop_phrase_is_no_part_of_joined_letters() -> None:
    assert extract(" y and a --> ya END", answer_type("letters"), place_of("ft_cot_token")) == "ya"
    assert extract(" . ", answer_type("letters")) is None


def test_the_published_comparison_is_of_strings() -> None:
    assert published_equal("12.", " 12 ")
    assert not published_equal("12.0", "12")
    assert not published_equal(None, "")


def test_a_completion_says_whether_it_is_marked() -> None:
    assert Place(("-->",)).marked("a --> b")
    assert not Place(("-->",)).marked("a b")
    assert Place().marked("")


@settings(max_examples=30)
@given(text=st.lists(PIECES, max_size=12).map("".join))
@pytest.mark.parametrize("task", sorted(TASKS))
def test_the_twelve_tasks_answers_are_those_of_the_published_rule(task: str, text: str) -> None:
    """Kojima et al. 2022, appendix: what is looked for in the answer's completion, the first of it counts, a full stop goes."""
    kind = TASKS[task].kind
    said = text.strip()
    if kind.startswith("choice:"):
        found = [letter for letter in said if kind[-3] <= letter <= kind[-1]]
    elif kind == "paper_number":
        found = re.findall(r"-?\d+\.?\d*", said.replace(",", ""))
    elif kind == "yes_no":
        found = [word for word in re.sub("[\"'\n.\\s:,]", " ", said.lower()).split(" ") if word in ("yes", "no")]
    else:
        found = [re.sub("[\"'\n.\\s]", "", said)]
    first = (found or [""])[0].removesuffix(".")
    got = extract(text, TASKS[task].answers)
    assert (got or "") == first
    assert published_equal(got, "7") == (first == "7")
