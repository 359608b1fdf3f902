"""The temperature of each row: annealed over the run, or by how unsure the teacher is there."""

from __future__ import annotations

import pytest
import torch

from stillhouse.losses.sources import Dense
from stillhouse.method import WhiteBox
from stillhouse.training.temperature import Temperature


def test_a_temperature_is_annealed_or_follows_how_unsure_the_teacher_is() -> None:
    sure_NV = torch.tensor([[50.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    tokens_N = torch.zeros(2, dtype=torch.long)
    annealed = Temperature(WhiteBox(temperature=4.0, temperature_end=1.0))
    assert [annealed.of_rows(p, Dense(sure_NV), tokens_N)[0].item() for p in (0.0, 0.5, 1.0)] == [4.0, 2.5, 1.0]
    by_token_N = Temperature(WhiteBox(temperature=4.0, temperature_by="token")).of_rows(0.0, Dense(sure_NV), tokens_N)
    assert by_token_N.tolist() == pytest.approx([4.0, 1.0])
