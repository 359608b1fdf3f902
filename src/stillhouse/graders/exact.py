"""Grader `exact`: the answer is the reference, character for character, white space at the ends aside."""

from __future__ import annotations

from stillhouse.dataset import Example
from stillhouse.grade import Grade
from stillhouse.graders.base import expected, verdict


class Exact:
    """For labels and short answers whose spelling matters."""

    name = "exact"

    async def grade(self, example: Example, answer: str) -> Grade:
        want, got = expected(example).strip(), answer.strip()
        return verdict(want == got, want, got)
