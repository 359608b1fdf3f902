"""The words that networks, losses and training share, as tensors: an encoded example, a micro-batch, what a network says of it.

One shape for every kind of student: N supervised rows, each with a hidden state, and one head that turns a state into V scores.
For a decoder a row is a token to be predicted and V the vocabulary; for a classifier a row is an example (or a labelled token)
and V the labels; for a regression V is 1.

Shapes: B examples, T positions, N supervised rows of the whole micro-batch, H width, V scores, A attention heads, D head width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """One example as numbers."""

    example: str
    """Its id."""
    tokens: tuple[int, ...]
    """What the network reads. Decoder: prompt, answer and end token in one; encoder-decoder and encoder: the input."""
    answer_start: int
    """Decoder: index of the answer's first token. Others: the length of `tokens`."""
    weight: float
    targets: tuple[int | float, ...] = ()
    """Encoder-decoder: the answer's tokens; encoder: the label's index, a number, or one label for each labelled token. Decoder:
    empty, because they are in `tokens`."""
    segments: tuple[int, ...] = ()
    """Encoder: which text of a pair each token is of. Token classification: nothing."""
    places: tuple[int, ...] = ()
    """Token classification: positions of the labelled tokens."""
    task: str = ""
    """Which task it is of, where there are several."""
    extra: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """One number for each supervised row, by name: what a rollout's tokens were sampled with, ..."""
    shares: tuple[float, ...] = ()
    """One for each supervised row, times `weight`: what a token counts, by the part of the answer it is of. Empty: 1 each."""
    partner: Encoded | None = None
    """A second text of the same example, never in another micro-batch: the worse answer where pairs are learnt from, the
    rationale where it is a task of its own."""

    @property
    def length(self) -> int:
        """Positions it takes: what bucketing and token budgets count."""
        return len(self.tokens) + (0 if self.partner is None else len(self.partner.tokens))

    @property
    def rows(self) -> int:
        """Supervised ones, N of this text: the targets', or a decoder's tokens from the answer on."""
        return len(self.targets) or len(self.tokens) - self.answer_start

    @property
    def counts(self) -> bool:
        """Whether any of its rows has a weight."""
        return self.weight > 0 and (not self.shares or max(self.shares) > 0)

    @property
    def row_weights(self) -> tuple[float, ...]:
        """What each supervised row counts: the one place where an example's weight and its parts' meet."""
        return tuple(self.weight * share for share in self.shares) if self.shares else (self.weight,) * self.rows


def side_by_side(rows: Sequence[Encoded]) -> list[Encoded]:
    """What a micro-batch is collated from: all rows, then the partners of those that have one, in the same order."""
    return [*rows, *(row.partner for row in rows if row.partner is not None)]


@dataclass(frozen=True)
class Batch:
    """A micro-batch."""

    examples: tuple[str, ...]
    """Ids of its B examples: for messages, and to find them in a teacher's cache."""
    inputs: Mapping[str, Tensor]
    """What the network takes, by name: `input_ids` BxT, `attention_mask`, ..."""
    positions_N: Tensor
    """Where in the network's flattened output the supervised rows stand."""
    targets_N: Tensor
    """The token, label (int64) or number (float32) of each row."""
    weights_N: Tensor
    """What each row counts, float32: its example's weight, times its share."""
    owners_N: Tensor
    """Which of the B examples a row is of, ascending."""
    real_tokens: int
    """Without padding."""
    tasks: tuple[str, ...] = ()
    """Of its B examples, where there are several tasks."""
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    """The encoded examples' `extra`, N each."""

    @property
    def weights_B(self) -> Tensor:
        """Each example's weight, that of its heaviest row; 0 for one without rows."""
        return self.weights_N.new_zeros(len(self.examples)).scatter_reduce(0, self.owners_N, self.weights_N, "amax")

    @property
    def weight(self) -> float:
        """What its sums are divided by, as its part of the window."""
        return float(self.weights_N.sum())

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return replace(
            self,
            inputs={name: value.to(device) for name, value in self.inputs.items()},
            positions_N=self.positions_N.to(device),
            targets_N=self.targets_N.to(device),
            weights_N=self.weights_N.to(device),
            owners_N=self.owners_N.to(device),
            extra={name: value.to(device) for name, value in self.extra.items()},
        )


@dataclass(frozen=True)
class Head:
    """The last linear layer, and what some architectures do to its scores."""

    weight_VH: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    """Scores are multiplied by it (Cohere, Granite)."""
    soft_cap: float | None = None
    """Scores are cap * tanh(score / cap) (Gemma)."""

    @property
    def size(self) -> int:
        """V."""
        return self.weight_VH.shape[0]

    def scores(self, hidden_NH: Tensor) -> Tensor:
        """scores_NV, in the states' own precision."""
        scores_NV = torch.nn.functional.linear(hidden_NH, self.weight_VH.to(hidden_NH.dtype), _like(self.bias_V, hidden_NH))
        scores_NV = scores_NV * self.scale if self.scale != 1.0 else scores_NV
        return scores_NV if self.soft_cap is None else self.soft_cap * torch.tanh(scores_NV / self.soft_cap)

    def picked(self, order: Sequence[int] | None) -> Head:
        """The head of these scores in this order: another network's labels. None: as it is."""
        if order is None:
            return self
        rows = torch.tensor(order, device=self.weight_VH.device)
        return replace(self, weight_VH=self.weight_VH[rows], bias_V=None if self.bias_V is None else self.bias_V[rows])

    def first(self, size: int) -> Head:
        """The head of the first `size` scores: what two vocabularies have in common when one is padded."""
        if size == self.size:
            return self
        return replace(self, weight_VH=self.weight_VH[:size], bias_V=None if self.bias_V is None else self.bias_V[:size])


@dataclass(frozen=True)
class States:
    """A network's inner states, for losses that compare them. Only what was asked for is there."""

    mask_BT: Tensor
    """True at real tokens."""
    hidden: tuple[Tensor, ...] = ()
    """The embeddings, then each layer's output: each BxTxH."""
    pooled_BH: Tensor | None = None
    """One state an example: the classifier's, or the mean over real tokens."""
    queries: tuple[Tensor, ...] = ()
    """Each layer's, BxAxTxD, before any rotation."""
    keys: tuple[Tensor, ...] = ()
    values: tuple[Tensor, ...] = ()
    scores: tuple[Tensor, ...] = ()
    """Each layer's attention scores before the softmax, BxAxTxT."""


@dataclass(frozen=True)
class Output:
    """What a network says about a batch."""

    hidden_NH: Tensor
    """The states at the supervised rows, before the head."""
    head: Head
    states: States | None = None

    @property
    def scores_NV(self) -> Tensor:
        """All of them at once; `losses.fused` never needs to."""
        return self.head.scores(self.hidden_NH)


@dataclass(frozen=True)
class Wanted:
    """Which inner states a network shall give beside its output."""

    hidden: bool = False
    attention: bool = False
    """Scores before the softmax."""
    relations: frozenset[str] = field(default_factory=frozenset)
    """Of `queries`, `keys`, `values`."""
    pooled: bool = False

    def __bool__(self) -> bool:
        return self.hidden or self.attention or self.pooled or bool(self.relations)


def _like(bias_V: Tensor | None, hidden_NH: Tensor) -> Tensor | None:
    return None if bias_V is None else bias_V.to(hidden_NH.dtype)


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    tell = getattr(torch.cpu, "get_capabilities", dict)  # older torch does not
    able: dict[str, bool] = tell() if device.type == "cpu" else {}
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))
