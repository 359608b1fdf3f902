from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.answers.final import final_answer, normalise


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Ann flips it, so it is tails up. So the answer is no.", "no"),
        ("Answer: yes", "yes"),
        ("The answer is 3? No. The answer is: 4.", "4"),
        ("Final **Answer:** `xyz`", "xyz"),
        ("The answer is\n\n  42\nThank you.", "42"),
        ("card_arrival", "card_arrival"),
        ("The answer is heads.\nI hope this answer is", "heads"),
        ("An answer isn't easy", "An answer isn't easy"),
        ("the answer is 3.14.", "3.14"),
        ("", ""),
    ],
)
def test_the_answer_stands_behind_the_last_marker(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=20), st.text(max_size=50))
def test_whatever_was_said_before_does_not_matter(answer: str, reasoning: str) -> None:
    assert final_answer(f"{reasoning} So the answer is {answer}.") == answer


@given(st.text())
def test_extracting_never_fails_and_normalising_twice_changes_nothing(text: str) -> None:
    final_answer(text)
    assert normalise(normalise(text)) == normalise(text)


def test_case_width_spacing_and_punctuation_do_not_count() -> None:
    assert normalise(" Ｙｅｓ,  it\nis. ") == normalise("yes, IT is")
