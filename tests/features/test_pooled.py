"""Pooled states, against the formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cosine_similarity

from stillhouse.tensors import States
from tests.features.sides import built, mask, states

STUDENT, TEACHER = states(0), states(1)
LAYERS = (2, 2)


def both() -> tuple[torch.Tensor, torch.Tensor]:
    assert STUDENT.pooled_BH is not None and TEACHER.pooled_BH is not None
    return STUDENT.pooled_BH, TEACHER.pooled_BH


def test_cosine() -> None:
    torch.testing.assert_close(built("pooled")(STUDENT, TEACHER, LAYERS), 1 - cosine_similarity(*both(), dim=-1))


def test_mse_is_relative_to_the_teachers_length() -> None:
    s, t = both()
    expected = (s - t).square().sum(dim=-1) / t.square().sum(dim=-1)
    torch.testing.assert_close(built("pooled", metric="mse")(STUDENT, TEACHER, LAYERS), expected)


def test_other_widths_are_projected() -> None:
    loss = built("pooled", 8, 4)
    assert [weight.shape for weight in loss.parameters()] == [(4, 8)]
    assert loss(STUDENT, states(1, width=4), LAYERS).shape == (4,)


def test_states_that_were_not_asked_for_are_named() -> None:
    with pytest.raises(ValueError, match="pooled=True"):
        built("pooled")(States(mask()), TEACHER, LAYERS)
