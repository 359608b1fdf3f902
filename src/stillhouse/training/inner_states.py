"""A teacher's inner states on their way into its cache and out of it: the layers that a method's features compare, in float16.

Names are `hidden.3`, `queries.3`, `scores.3`, ... (layers from 1, `hidden.0` the embeddings) and `pooled`. Padding is not kept.

Shapes: B examples, T positions, H width, A attention heads, D head width, X pairs of positions of one
example.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillhouse.errors import TrainingError
from stillhouse.signals.blocks import Column
from stillhouse.tensors import States, Wanted

_POOLED = "pooled"
_RELATIONS = ("queries", "keys", "values")


def names_of(wanted: Wanted, layers: Collection[int]) -> tuple[str, ...]:
    """What a cache has to keep for features that want these states of these layers of the teacher."""
    parts = ["hidden"] * wanted.hidden + ["scores"] * wanted.attention + sorted(wanted.relations)
    named = [f"{part}.{layer}" for part in parts for layer in sorted(layers) if layer > 0 or part == "hidden"]
    return (*named, _POOLED) if wanted.pooled else tuple(named)


def wanted_of(names: Sequence[str]) -> Wanted | None:
    """What the teacher is asked for, so that these can be kept. None: nothing."""
    parts = {name.partition(".")[0] for name in names}
    wanted = Wanted("hidden" in parts, "scores" in parts, frozenset(parts & set(_RELATIONS)), _POOLED in parts)
    return wanted or None


def columns_of_states(states: States, names: Sequence[str]) -> dict[str, Column]:
    """The named states as arrays of whole examples. Raises TrainingError where float16 does not hold them."""
    lengths_B = states.mask_BT.sum(dim=1).tolist()
    return {name: _column(name, _picked(states, name), lengths_B) for name in names}


def states_of(arrays: Mapping[str, Sequence[NDArray[Any]]], mask_BT: Tensor) -> States:
    """States again from each example's arrays, padded on the right, float32. Layers that were not kept are empty.

    `mask_BT` is used where no array tells how long the examples are.
    """
    device = mask_BT.device
    pooled = arrays.get(_POOLED)
    named = next((name for name in arrays if name != _POOLED), None)
    if named is not None:
        lengths = [isqrt(len(part)) if named.startswith("scores.") else len(part) for part in arrays[named]]
        mask_BT = torch.arange(max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]
    return States(
        mask_BT=mask_BT,
        pooled_BH=None if pooled is None else torch.from_numpy(np.concatenate(pooled)).to(device).float(),
        **{part: _layers(arrays, part, device) for part in ("hidden", "scores", *_RELATIONS)},
    )


def _picked(states: States, name: str) -> Tensor:
    part, _, layer = name.partition(".")
    if part == _POOLED:
        assert states.pooled_BH is not None
        return states.pooled_BH
    tensors: tuple[Tensor, ...] = getattr(states, part)
    return tensors[int(layer) if part == "hidden" else int(layer) - 1]


def _column(name: str, values: Tensor, lengths_B: Sequence[int]) -> Column:
    half = values.detach().half().cpu()
    if bool((half.isinf() & values.isfinite().cpu()).any()) or bool(half.isnan().any()):
        raise TrainingError(f"The teacher's {name} holds numbers that float16 does not. Set [method] source = 'live'.")
    if name == _POOLED:
        return Column(half.numpy(), (1,) * len(lengths_B))
    part = name.partition(".")[0]
    if part == "scores":
        pieces = [example_ATT[:, :length, :length].flatten(1).T for example_ATT, length in zip(half, lengths_B, strict=True)]
    elif part == "hidden":
        pieces = [example_TH[:length] for example_TH, length in zip(half, lengths_B, strict=True)]
    else:
        pieces = [example_ATD[:, :length].transpose(0, 1) for example_ATD, length in zip(half, lengths_B, strict=True)]
    return Column(torch.cat(pieces).numpy(), tuple(len(piece) for piece in pieces))


def _layers(arrays: Mapping[str, Sequence[NDArray[Any]]], part: str, device: torch.device) -> tuple[Tensor, ...]:
    """By layer, so that they are found where a live teacher's stand."""
    first = 0 if part == "hidden" else 1
    kept = {int(name.partition(".")[2]): parts for name, parts in arrays.items() if name.startswith(f"{part}.")}
    if not kept:
        return ()
    nothing = torch.empty(0, device=device)
    return tuple(
        _padded(part, kept[layer]).to(device).float() if layer in kept else nothing for layer in range(first, max(kept) + 1)
    )


def _padded(part: str, parts: Sequence[NDArray[Any]]) -> Tensor:
    """Examples of different lengths as one tensor, in the order of axes that a network gives; 0 at padding, -inf in scores."""
    if part == "scores":
        width = max(isqrt(len(one_XA)) for one_XA in parts)
        scores_BATT = np.full((len(parts), parts[0].shape[1], width, width), -np.inf, dtype=np.float16)
        for i, one_XA in enumerate(parts):
            length = isqrt(len(one_XA))
            scores_BATT[i, :, :length, :length] = one_XA.T.reshape(-1, length, length)
        return torch.from_numpy(scores_BATT)
    padded = np.zeros((len(parts), max(map(len, parts)), *parts[0].shape[1:]), dtype=np.float16)
    for i, one in enumerate(parts):
        padded[i, : len(one)] = one
    tensor = torch.from_numpy(padded)
    return tensor if part == "hidden" else tensor.transpose(1, 2)
