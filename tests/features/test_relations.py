"""MiniLM's relations, against the formula written out example by example."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stillhouse.errors import RecipeError
from stillhouse.tensors import States
from tests.features.sides import LENGTHS, built, mapped, mask, states

LAYERS = (1, 2)
PARTS = ("queries", "keys", "values")


def relation(side: States, part: str, layer: int, example: int, heads: int) -> torch.Tensor:
    """log softmax(A A^T / sqrt d) of an example's real tokens, one matrix a relation head."""
    value_ATD = getattr(side, part)[layer][example, :, : LENGTHS[example]]
    tokens_TX = torch.cat(list(value_ATD), dim=-1)
    return torch.stack([(a @ a.T / a.shape[-1] ** 0.5).log_softmax(dim=-1) for a in tokens_TX.chunk(heads, dim=-1)])


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_it_is_the_kl_of_relations_whatever_the_networks_heads(heads: int) -> None:
    student, teacher = states(0, width=8, heads=2), states(1, width=16, heads=4)
    loss_B = built("relations", 8, 16, heads=heads)(student, teacher, LAYERS)
    for i in range(len(LENGTHS)):
        terms = []
        for part in PARTS:
            log_p, log_q = relation(teacher, part, 1, i, heads), relation(student, part, 0, i, heads)
            terms.append((log_p.exp() * (log_p - log_q)).sum(dim=-1).mean())
        torch.testing.assert_close(loss_B[i], torch.stack(terms).mean())


def test_the_largest_number_of_heads_that_fits_is_taken() -> None:
    student, teacher = states(0, width=8), states(1, width=12)
    torch.testing.assert_close(
        built("relations", 8, 12)(student, teacher, LAYERS), built("relations", 8, 12, heads=4)(student, teacher, LAYERS)
    )


def test_heads_that_do_not_divide_are_refused_with_what_does() -> None:
    with pytest.raises(RecipeError, match="heads = 3 .* 8 of the student and 8 of the teacher. Take a divisor of 8"):
        built("relations", heads=3)(states(0), states(1), LAYERS)


def test_keys_and_values_with_fewer_heads_than_queries_are_compared_at_their_own_width() -> None:
    """Grouped-query attention."""
    student, teacher = states(0), states(1)
    grouped = replace(student, keys=tuple(k[:, :1] for k in student.keys), values=tuple(v[:, :1] for v in student.values))
    loss_B = built("relations")(grouped, teacher, LAYERS)
    assert loss_B.isfinite().all() and (loss_B > 0).any()


def test_tinybert_mean_over_classes() -> None:
    """TinyBERT's (-p * log q).mean() divides by the classes too, so the gradient shrank with their number. Here they are tokens.

    A text of two tokens said four times over has the same relations among more tokens, and the same loss.
    """
    student, teacher = states(0, mask_BT=mask(2, (2,))), states(1, mask_BT=mask(2, (2,)))

    def fourfold(side: States) -> States:
        def again(value: torch.Tensor) -> torch.Tensor:
            return value.repeat(1, 1, 4, 1) if value.dim() == 4 and value.shape[-1] != value.shape[-2] else value

        return replace(mapped(side, again), mask_BT=mask(8, (8,)))

    loss = built("relations", heads=1)
    torch.testing.assert_close(loss(fourfold(student), fourfold(teacher), LAYERS), loss(student, teacher, LAYERS))


def test_verl_negative_kl_clamped() -> None:
    """A truncated KL goes below zero and was clamped, its gradient with it (verl #7856). Ours is whole, and is not clamped: a
    student a thousandth off still has a gradient, in every example."""
    teacher = mapped(states(1), lambda value: value.float())
    student = mapped(teacher, lambda value: (value + 1e-3 * torch.randn_like(value)).requires_grad_())
    loss_B = built("relations").float()(student, teacher, (2, 2))
    for i in (0, 1, 2):
        [gradient] = torch.autograd.grad(loss_B[i], [student.values[1]], retain_graph=True)
        assert gradient[i].abs().max() > 0
