"""What a teacher's distribution says about itself, read a slice at a time."""

from __future__ import annotations

import torch

from stillhouse.losses.sources import Dense
from stillhouse.training.reading import entropy, surprise


def test_what_a_distribution_says_of_itself_is_read_in_slices() -> None:
    scores_NV = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    tokens_N = torch.arange(9) % 5
    p_NV = scores_NV.softmax(-1)
    assert torch.allclose(entropy(Dense(scores_NV), tokens_N), -(p_NV * p_NV.log()).sum(-1), atol=1e-6)
    assert torch.allclose(surprise(Dense(scores_NV), tokens_N), -p_NV.gather(-1, tokens_N[:, None]).log()[:, 0], atol=1e-6)
