"""Choosing the next token for a whole batch at once, each row by its own temperature, top_p and random number.

A row's choice depends on its own logits and number only, so a seed gives the same text in any company.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

GREEDY_BELOW = 1e-5
"""Temperatures under this mean the most probable token."""


def choose(logits_BV: Tensor, temperature_B: Tensor, top_p_B: Tensor, uniform_B: Tensor) -> Tensor:
    """Token ids, shape B. `uniform_B` holds one number in [0, 1) a row: the row's place in its cumulative distribution.

    Nucleus sampling (Holtzman et al., 2020): the smallest set of tokens whose probability reaches top_p, renormalised.
    """
    greedy_B = logits_BV.argmax(dim=-1)
    sampled_B = temperature_B >= GREEDY_BELOW
    if not bool(sampled_B.any()):
        return greedy_B
    scaled_BV = logits_BV.float() / temperature_B.clamp(min=GREEDY_BELOW)[:, None]
    probability_BV = torch.softmax(scaled_BV, dim=-1)
    drawn_B = _inverse_cdf(probability_BV, uniform_B)
    nucleus_B = (top_p_B < 1) & sampled_B
    if bool(nucleus_B.any()):  # sorting a large vocabulary is dear: only the rows that need it
        drawn_B[nucleus_B] = _nucleus(probability_BV[nucleus_B], top_p_B[nucleus_B], uniform_B[nucleus_B])
    return torch.where(sampled_B, drawn_B, greedy_B)


def _nucleus(probability_BV: Tensor, top_p_B: Tensor, uniform_B: Tensor) -> Tensor:
    sorted_BV, order_BV = probability_BV.sort(dim=-1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
    kept_BV = sorted_BV.masked_fill(before_BV >= top_p_B[:, None], 0.0)
    return order_BV.gather(1, _inverse_cdf(kept_BV, uniform_B)[:, None])[:, 0]


def _inverse_cdf(weight_BV: Tensor, uniform_B: Tensor) -> Tensor:
    """First index whose cumulative weight exceeds uniform x total."""
    cumulative_BV = weight_BV.double().cumsum(dim=-1)
    target_B1 = uniform_B.double()[:, None] * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, target_B1, right=True)[:, 0].clamp(max=weight_BV.shape[1] - 1)
