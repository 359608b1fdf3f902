"""Which candidate is the answer."""

from __future__ import annotations

import pytest

from stillhouse.answers import Place, answer_type, extract, published_equal
from stillhouse.reasoning.templates import place_of


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
