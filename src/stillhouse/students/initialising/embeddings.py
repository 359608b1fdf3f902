"""A table with fewer columns: principal components of the teacher's table, or of what the teacher says of each token.

Shapes: V tokens, H the teacher's width, E columns of the new table, S the student's width, X numbers known of a token.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import torch
from torch import Tensor

from stillhouse.tensors import has_bfloat16

SLICE = 4096
"""Tokens that the teacher reads at once, each as a text of its own."""
_LAST: dict[bytes, Tensor] = {}
"""What one teacher said last: of several students that one process builds from it, the first one asks."""


def components(known_VX: Tensor, size: int) -> Tensor:
    """The first `size` principal components of what is known of each token, V x `size`, with a mean square of 1."""
    centred_VX = known_VX.float() - known_VX.float().mean(dim=0)
    return centred_VX @ directions(centred_VX, size)


def directions(centred_VX: Tensor, size: int) -> Tensor:
    """The matrix X x `size` by which centred numbers become their first principal components, with a mean square of 1."""
    _, vectors_XX = torch.linalg.eigh(centred_VX.T @ centred_VX)  # ascending
    vectors_XE: Tensor = vectors_XX[:, -size:].flip(1)
    return vectors_XE / (centred_VX @ vectors_XE).square().mean().sqrt()


def said_alone(teacher: Any, tokens: list[int]) -> Tensor:
    """What the teacher makes of each token as a text of its own, its special tokens around it: the state its head reads, VxH.

    That is what Model2Vec makes static embeddings of: more than the table knows, because all layers have seen it. A copy says it
    in bfloat16 where the processor is made for that: a start need not be exact.
    """
    around: list[int] = teacher.tokenizer.backend_tokenizer.encode("").ids
    half = has_bfloat16(next(teacher.network.parameters()).device)
    asked = _hash(teacher.network, [half, *around, *tokens])
    if asked not in _LAST:
        said_VH = _asked(teacher.network, around, tokens, half=half)
        _LAST.clear()
        _LAST[asked] = said_VH
    return _LAST[asked]


def _hash(network: Any, tokens: list[int]) -> bytes:
    """Of all weights, and of what is asked."""
    found = hashlib.blake2b(repr(tokens).encode())
    for name, weight in network.state_dict().items():
        found.update(name.encode())
        found.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.digest()


def _asked(network: Any, around: list[int], tokens: list[int], *, half: bool) -> Tensor:
    before, after = around[:1], around[1:]
    network = copy.deepcopy(network).eval()
    device = next(network.parameters()).device
    if half:
        network.bfloat16()
    rows = [
        torch.tensor([[*before, token, *after] for token in tokens[start : start + SLICE]], device=device)
        for start in range(0, len(tokens), SLICE)
    ]
    with torch.inference_mode():
        states = [network({"input_ids": row, "attention_mask": torch.ones_like(row)}) for row in rows]
    return torch.cat([state if state.dim() == 2 else state.mean(dim=1) for state in states]).float().clone()


def alike_in_size(parts: list[Tensor]) -> Tensor:
    """Several accounts of each token side by side, each centred and with a mean square of 1, so that none drowns the others."""
    centred = [part.float() - part.float().mean(dim=0) for part in parts]
    return torch.cat([part / part.square().mean().sqrt() for part in centred], dim=1)


def projection(table_VE: Tensor, wanted_VS: Tensor) -> tuple[Tensor, Tensor]:
    """(weight_SE, rest_S): table_VE @ weight.T + rest is as near to `wanted_VS` as can be, in least squares."""
    mean_S = wanted_VS.mean(dim=0)
    centre_E = table_VE.mean(dim=0)
    weight_ES = torch.linalg.lstsq(table_VE - centre_E, wanted_VS - mean_S).solution
    return weight_ES.T.contiguous(), mean_S - centre_E @ weight_ES
