"""Attention scores, against the formula written out, and with different numbers of heads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.features.sides import LENGTHS, built, states

LAYERS = (1, 2)


def test_it_is_the_squared_error_of_the_pairs_that_see_each_other() -> None:
    student, teacher = states(0), states(1)
    loss_B = built("attention")(student, teacher, LAYERS)
    for i, length in enumerate(LENGTHS):
        s, t = student.scores[0][i, :, :length, :length], teacher.scores[1][i, :, :length, :length]
        torch.testing.assert_close(loss_B[i], (s - t).square().mean() / t.square().mean())


def test_pairs_that_a_causal_mask_hides_count_nowhere() -> None:
    """-inf minus -inf is not a number, and its gradient is none either (TRL #5594)."""
    future_TT = torch.ones(6, 6, dtype=torch.bool).triu(1)
    student, teacher = states(0), states(1)
    hidden = tuple(score.masked_fill(future_TT, -torch.inf).requires_grad_() for score in student.scores)
    loss_B = built("attention")(replace(student, scores=hidden), teacher, LAYERS)
    below = torch.ones(5, 5, dtype=torch.bool).tril()
    s, t = student.scores[0][0, :, :5, :5][:, below], teacher.scores[1][0, :, :5, :5][:, below]
    torch.testing.assert_close(loss_B[0], (s - t).square().mean() / t.square().mean())
    [gradient] = torch.autograd.grad(loss_B.sum(), [hidden[0]])
    assert gradient.isfinite().all() and (gradient[..., future_TT] == 0).all()


@pytest.mark.parametrize(("student_heads", "teacher_heads", "groups"), [(2, 4, 2), (4, 2, 2), (4, 8, 4), (1, 4, 1)])
def test_neighbouring_heads_are_averaged_where_counts_differ(student_heads: int, teacher_heads: int, groups: int) -> None:
    student, teacher = states(0, heads=student_heads), states(1, heads=teacher_heads)
    loss_B = built("attention")(student, teacher, LAYERS)
    s, t = (
        torch.stack([part.mean(dim=0) for part in side.scores[layer][0, :, :5, :5].chunk(groups)])
        for side, layer in ((student, 0), (teacher, 1))
    )
    torch.testing.assert_close(loss_B[0], (s - t).square().mean() / t.square().mean())


def test_each_head_repeated_in_the_teacher_is_agreement() -> None:
    student = states(0)
    doubled = tuple(score.repeat_interleave(2, dim=1) for score in student.scores)
    assert (built("attention")(student, replace(student, scores=doubled), (2, 2)) < 1e-20).all()
