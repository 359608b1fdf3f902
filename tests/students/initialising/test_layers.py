"""Which layers a shallower student takes over."""

from __future__ import annotations

from typing import Any

import pytest

from stillhouse.errors import RecipeError
from stillhouse.students.initialising.layers import chosen_layers


@pytest.mark.parametrize(
    ("how", "student", "teacher", "layers"),
    [
        ("uniform", 6, 12, (0, 2, 4, 7, 9, 11)),  # DistilBERT's
        ("uniform", 6, 6, (0, 1, 2, 3, 4, 5)),
        ("uniform", 1, 6, (0,)),
        ("first", 2, 6, (0, 1)),
        ("last", 2, 6, (4, 5)),
        ((5, 0), 2, 6, (5, 0)),
        ((), 2, 6, ()),
    ],
)
def test_layers_are_chosen(how: Any, student: int, teacher: int, layers: tuple[int, ...]) -> None:
    assert chosen_layers(how, student, teacher) == layers


@pytest.mark.parametrize(("how", "student"), [("uniform", 7), ((1,), 2), ((6,), 1)])
def test_layers_that_are_not_there_are_refused(how: Any, student: int) -> None:
    with pytest.raises(RecipeError):
        chosen_layers(how, student, 6)
