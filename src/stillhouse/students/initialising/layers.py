"""Which of the teacher's layers a shallower student takes over. What happens to their widths is `widths.py`'s affair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from stillhouse.errors import RecipeError


def chosen_layers(how: Literal["uniform", "first", "last"] | Sequence[int], student: int, teacher: int) -> tuple[int, ...]:
    """The teacher's layer behind each of the student's, from 0. An empty `how` is none: the student's layers stay random.

    uniform: spread evenly, first and last among them (12 -> 6: 0, 2, 4, 7, 9, 11, as DistilBERT). Raises RecipeError where the
    teacher has too few, or a list names other layers than the student has.
    """
    if not isinstance(how, str):
        if how and (len(how) != student or not all(0 <= layer < teacher for layer in how)):
            raise RecipeError(
                f"[student.init] layers = {list(how)}: the student has {student} layers and the teacher {teacher}. "
                "Name one of the teacher's, from 0, for each of the student's."
            )
        return tuple(how)
    if student > teacher:
        raise RecipeError(f"The student has {student} layers and its teacher {teacher}, so there is nothing to copy. Take fewer.")
    if how == "first":
        return tuple(range(student))
    if how == "last":
        return tuple(range(teacher - student, teacher))
    return tuple(i * (teacher - 1) // max(student - 1, 1) + _half_up(i, teacher, student) for i in range(student))


def _half_up(i: int, teacher: int, student: int) -> int:
    """1 in the upper half of the list, where the step does not come out even: there the later layer is taken."""
    exact = i * (teacher - 1) % max(student - 1, 1) == 0
    return int(not exact and 2 * i >= student)
