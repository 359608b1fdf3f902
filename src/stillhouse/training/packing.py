"""Whether short examples may share a row: tried out on the network itself, because most architectures of transformers keep them
apart and some do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from stillhouse.errors import RecipeError
from stillhouse.method import WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Encoded

_TOLERANCE = 1e-3
"""Of the states' own size: rounding is a thousand times smaller, an example that sees another a hundred times larger."""


def check_packable(recipe: Recipe) -> None:
    """Raises RecipeError where the method compares inner states, which are one example a row."""
    if any(isinstance(method, WhiteBox) and method.features for _, method in recipe.methods()):
        raise RecipeError(
            "Features compare inner states of whole rows, and packed rows hold several examples: leave out one of them."
        )


def packer_of(student: Trainable) -> Callable[[Sequence[Encoded]], Batch]:
    """What collates packed rows. Raises RecipeError for a kind that has none, or a network in which examples see each other."""
    pack: Callable[[Sequence[Encoded]], Batch] | None = getattr(student, "pack", None)
    if pack is None:
        raise RecipeError(f"[training] pack is for decoders, and a student of kind '{student.kind}' is none. Leave it out.")
    if not keeps_apart(student, pack):
        name: Any = student.network.config.model_type
        raise RecipeError(f"In a '{name}' network, examples in one row see each other: set [training] pack = false.")
    return pack


@torch.no_grad()
def keeps_apart(student: Trainable, pack: Callable[[Sequence[Encoded]], Batch]) -> bool:
    """Whether packed examples have the states they have by themselves."""
    device = next(student.network.parameters()).device
    highest = min(student.vocabulary_size, 40)
    rows = [_example(length, highest) for length in (7, 3, 4)]
    mode = student.network.training
    student.network.eval()
    try:
        alone_NH = student.output(student.collate(rows).to(device)).hidden_NH
        packed_NH = student.output(pack(rows).to(device)).hidden_NH
    except TypeError:  # it takes no positions
        return False
    finally:
        student.network.train(mode)
    return bool((alone_NH - packed_NH).abs().max() <= _TOLERANCE * alone_NH.abs().max())


def _example(length: int, highest: int) -> Encoded:
    return Encoded(f"of {length}", tuple((5 * length + 3 * i) % highest for i in range(length)), 1, 1.0)
