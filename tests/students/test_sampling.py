"""The next token: by its probability, out of the nucleus, the most probable one where nothing is left to chance."""

from __future__ import annotations

import pytest
import torch

from stillhouse.students.sampling import choose

torch.set_num_threads(1)

PROBABILITIES = [0.15, 0.5, 0.05, 0.3]
DRAWS = 1000


def shares(temperature: float = 1.0, top_p: float = 1.0) -> list[float]:
    """How often each token comes when the random numbers are spread evenly."""
    logits_BV = torch.tensor(PROBABILITIES).log().expand(DRAWS, -1)
    uniform_B = (torch.arange(DRAWS, dtype=torch.double) + 0.5) / DRAWS
    chosen_B = choose(logits_BV, torch.full((DRAWS,), temperature), torch.full((DRAWS,), top_p), uniform_B)
    return [share / DRAWS for share in torch.bincount(chosen_B, minlength=len(PROBABILITIES)).tolist()]


def test_tokens_come_as_often_as_they_are_probable() -> None:
    assert shares() == pytest.approx(PROBABILITIES, abs=2 / DRAWS)


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (0.3, [0, 1, 0, 0]),
        (0.7, [0, 0.5 / 0.8, 0, 0.3 / 0.8]),
        (0.9, [0.15 / 0.95, 0.5 / 0.95, 0, 0.3 / 0.95]),
        (0.99, PROBABILITIES),
    ],
)
def test_only_the_nucleus_is_drawn_from_renormalised(top_p: float, expected: list[float]) -> None:
    assert shares(top_p=top_p) == pytest.approx(expected, abs=2 / DRAWS)


def test_temperature_sharpens_and_at_zero_takes_the_likeliest() -> None:
    squares = [probability**2 for probability in PROBABILITIES]
    assert shares(temperature=0.5) == pytest.approx([square / sum(squares) for square in squares], abs=2 / DRAWS)
    assert shares(temperature=0.0, top_p=0.9) == [0, 1, 0, 0]


def test_each_row_has_its_own_settings() -> None:
    logits_BV = torch.tensor(PROBABILITIES).log().expand(3, -1)
    uniform_B = torch.full((3,), 0.98, dtype=torch.double)
    assert choose(logits_BV, torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 1.0, 0.3]), uniform_B).tolist() == [1, 3, 1]
