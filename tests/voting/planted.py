"""Votes of voters whose confusion is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stillhouse.voting.votes import ABSTAINED


def confusion(size: int, accuracy: float, *, favourite: int | None = None) -> NDArray[np.float64]:
    """Right so often; what is wrong goes to `favourite`, or to every other label alike."""
    made = np.full((size, size), (1 - accuracy) / (size - 1))
    if favourite is not None:
        made[:] = 0.0
        made[:, favourite] = 1 - accuracy
    made[np.arange(size), np.arange(size)] = accuracy
    if favourite is not None:
        made[favourite] = np.eye(size)[favourite]
    return made


def votes(
    confusions: list[NDArray[np.float64]], texts: int, *, silent: float = 0.0, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The true labels, and what each voter says of them, some of it nothing."""
    random = np.random.default_rng(seed)
    size = len(confusions[0])
    truth_N = random.choice(size, texts, p=np.arange(1, size + 1) / np.arange(1, size + 1).sum())
    said_NV = np.array([[random.choice(size, p=each[true]) for each in confusions] for true in truth_N])
    said_NV[random.random(said_NV.shape) < silent] = ABSTAINED
    return truth_N, said_NV
