"""A large table of tokens in few numbers: every row is put together from code words that many rows share.

Product quantisation (Jégou et al. 2011): the columns are turned so that their variances can be dealt out evenly, cut into groups,
and each group's rows are replaced by the nearest of 256 code words (Shu & Nakayama 2018 for embeddings). Code words and turning
are trained with the student; which row has which codes stays.

Shapes: V tokens, E columns, M groups, D = E / M columns of a group, K code words of a group, T positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stillhouse.errors import RecipeError

WORDS = 256
"""K: a code is one byte."""
ROUNDS = 12
"""Of k-means."""


class CodedTable(nn.Module):
    """Stands where an `nn.Embedding` of V x E would."""

    codes_VM: Tensor

    def __init__(self, rows: int, columns: int, groups: int) -> None:
        """Everything is zero until `fit`, or until weights are loaded. Raises RecipeError where groups do not divide columns."""
        super().__init__()
        if columns % groups:
            raise RecipeError(f"[student.config] codes = {groups} must divide the table's {columns} columns.")
        self.register_buffer("codes_VM", torch.zeros(rows, groups, dtype=torch.uint8))
        self.words_MKD = nn.Parameter(torch.zeros(groups, WORDS, columns // groups))
        self.turn_EE = nn.Parameter(torch.eye(columns))
        self.centre_E = nn.Parameter(torch.zeros(columns))

    @property
    def numbers(self) -> int:
        """What is stored: a code counts like any other number."""
        return self.codes_VM.numel() + sum(parameter.numel() for parameter in self.parameters())

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """states_BTE."""
        return self._rows(self.codes_VM[tokens_BT].long())

    def whole(self) -> Tensor:
        """table_VE, put together: what serving looks rows up in."""
        with torch.no_grad():
            return self._rows(self.codes_VM.long())

    @torch.no_grad()
    def fit(self, table_VE: Tensor, *, seed: int = 0) -> float:
        """Take over a table; returns the share of its variance that is kept (0 to 1)."""
        groups, _, width = self.words_MKD.shape
        centre_E = table_VE.mean(dim=0)
        centred_VE = table_VE - centre_E
        turn_EE = _dealt_axes(centred_VE, groups)
        turned_VMD = (centred_VE @ turn_EE.T).view(len(table_VE), groups, width)
        generator = torch.Generator().manual_seed(seed)
        for group in range(groups):
            words_KD, codes_V = _nearest_words(turned_VMD[:, group], generator)
            self.words_MKD[group] = words_KD
            self.codes_VM[:, group] = codes_V.to(torch.uint8)
        self.turn_EE.copy_(turn_EE)
        self.centre_E.copy_(centre_E)
        return float(1 - (self.whole() - table_VE).square().sum() / centred_VE.square().sum())

    def _rows(self, codes: Tensor) -> Tensor:
        groups = torch.arange(codes.shape[-1], device=codes.device)
        return self.words_MKD[groups, codes].flatten(-2) @ self.turn_EE + self.centre_E


def _dealt_axes(centred_VE: Tensor, groups: int) -> Tensor:
    """turn_EE: principal axes, dealt so that the products of the groups' variances are alike (Ge et al. 2013, section 3.2)."""
    variance_E, axes_EE = torch.linalg.eigh(centred_VE.T @ centred_VE / len(centred_VE))
    room = centred_VE.shape[1] // groups
    dealt: list[list[int]] = [[] for _ in range(groups)]
    logs = [0.0] * groups
    floor = float(variance_E.max()) * 1e-9 + 1e-30
    for axis in reversed(range(len(variance_E))):
        group = min((each for each in range(groups) if len(dealt[each]) < room), key=logs.__getitem__)
        dealt[group].append(axis)
        logs[group] += float((variance_E[axis].clamp(min=floor) / floor).log())
    order = torch.tensor([axis for axes in dealt for axis in axes])
    turn_EE: Tensor = axes_EE.T[order]
    return turn_EE


def _nearest_words(points_VD: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """words_KD and codes_V by k-means (Lloyd 1982), from distinct rows. A word that nobody is nearest to stays where it was."""
    words_KD = points_VD[torch.randperm(len(points_VD), generator=generator)[:WORDS]].clone()
    if len(words_KD) < WORDS:
        words_KD = torch.cat([words_KD, words_KD.new_zeros(WORDS - len(words_KD), words_KD.shape[1])])
    codes_V = torch.zeros(len(points_VD), dtype=torch.long)
    for _ in range(ROUNDS):
        distance_VK = words_KD.square().sum(dim=-1) - 2 * points_VD @ words_KD.T
        codes_V = distance_VK.argmin(dim=-1)
        counts_K = torch.bincount(codes_V, minlength=WORDS).to(points_VD.dtype)
        sums_KD = torch.zeros_like(words_KD).index_add_(0, codes_V, points_VD)
        words_KD = torch.where(counts_K[:, None] > 0, sums_KD / counts_K.clamp(min=1)[:, None], words_KD)
    return words_KD, codes_V
