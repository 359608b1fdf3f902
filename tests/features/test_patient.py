"""Patient knowledge distillation, against the formula written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from tests.features.sides import LENGTHS, built, states

STUDENT, TEACHER = states(0), states(1)


@pytest.mark.parametrize("token", ["first", "last"])
def test_it_is_the_squared_distance_of_the_tokens_directions(token: str) -> None:
    loss_B = built("patient", token=token)(STUDENT, TEACHER, (1, 2))
    for i, length in enumerate(LENGTHS):
        place = 0 if token == "first" else length - 1
        s, t = normalize(STUDENT.hidden[1][i, place], dim=0), normalize(TEACHER.hidden[2][i, place], dim=0)
        torch.testing.assert_close(loss_B[i], (s - t).square().sum())


def test_it_lies_between_0_and_4() -> None:
    opposite = [built("patient")(STUDENT, side, (1, 1)).max() for side in (STUDENT, TEACHER)]
    assert opposite[0] == 0 and 0 < opposite[1] <= 4
