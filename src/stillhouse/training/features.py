"""The features of a recipe, ready to compare two networks: which layers belong together, the projections, the weights.

Its parameters are trained with the student and kept in checkpoints, and are left behind when the student is saved. The sums over
examples, and the one division, are the objective's.

Shapes: B examples.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stillhouse.errors import RecipeError
from stillhouse.features import FEATURES
from stillhouse.features.base import FeatureLoss
from stillhouse.method import Feature, LayerMap
from stillhouse.tensors import States, Wanted

Pair = tuple[int, int]
"""A student's and a teacher's layer, counted from 1, 0 being the embeddings."""


class FeatureTerms(nn.Module):
    """Every feature of a method, between a student and a teacher of these sizes."""

    wanted: Wanted
    """All the states that any of them compares."""
    names: tuple[str, ...]
    """Of the terms, in the recipe's order: the loss's name, with a number where it comes again."""

    def __init__(
        self,
        features: Sequence[Feature],
        student_layers: int,
        teacher_layers: int,
        student_width: int,
        teacher_width: int,
        seed: int = 0,
    ) -> None:
        """Layers do not count the embeddings; widths are the hidden states'. Projections are drawn by `seed`.

        Raises UsageError for a feature that does not exist (the message lists those that do), RecipeError for options that it
        does not have and for layers that the networks do not have.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        terms = []
        for feature in features:
            pairs = _pairs(feature, student_layers, teacher_layers)
            losses = [built(feature) for _ in pairs]
            for loss in losses:
                loss.prepare(student_width, teacher_width, generator)
            terms.append(_Term(feature.weight, pairs, losses))
        self.terms = nn.ModuleList(terms)
        self.names = _numbered([feature.loss for feature in features])
        self.wanted = _union([term.wanted for term in terms])

    @property
    def aligned(self) -> bool:
        """Whether both networks must read the same tokens."""
        return any(term.aligned for term in self._terms())

    @property
    def within_batch(self) -> bool:
        """Whether examples are compared with each other, so that the size of a micro-batch is part of what is minimised."""
        return any(term.within_batch for term in self._terms())

    @property
    def teacher_layers(self) -> frozenset[int]:
        """The teacher's layers that are read at all, 0 being the embeddings: what a cache has to keep."""
        return frozenset(teacher for term in self._terms() if term.by_layer for _, teacher in term.pairs)

    def forward(self, student: States, teacher: States) -> dict[str, Tensor]:
        """Each term's loss_B by name, its weight in it, the mean over its pairs of layers. The teacher gets no gradient.

        In float32 at least, also under autocast. Raises RecipeError where tokens are to be compared and are not the same.
        """
        if self.aligned and student.mask_BT.shape != teacher.mask_BT.shape:
            raise RecipeError(
                f"The teacher reads these texts as {teacher.mask_BT.shape[1]} tokens, the student as {student.mask_BT.shape[1]}: "
                "their states cannot be compared token by token. Give the student the teacher's tokenizer, or compare what "
                "stands for a whole text: pooled, pkt, rkd_distance, rkd_angle, similarity_preserving."
            )
        with torch.autocast(student.mask_BT.device.type, enabled=False):
            return {name: term(student, teacher) for name, term in zip(self.names, self._terms(), strict=True)}

    def _terms(self) -> list[_Term]:
        return [term for term in self.terms if isinstance(term, _Term)]


class _Term(nn.Module):
    """One feature: a loss for each pair of layers."""

    def __init__(self, weight: float, pairs: Sequence[Pair], losses: Sequence[FeatureLoss]) -> None:
        super().__init__()
        self.weight, self.pairs, self.losses = weight, tuple(pairs), nn.ModuleList(losses)
        self.wanted, self.aligned, self.within_batch = losses[0].wanted, losses[0].aligned, losses[0].within_batch
        self.by_layer = losses[0].compares != "pooled"

    def forward(self, student: States, teacher: States) -> Tensor:
        losses_B = [loss(student, teacher, pair) for loss, pair in zip(self.losses, self.pairs, strict=True)]
        return self.weight * torch.stack(losses_B).mean(dim=0)


def layer_pairs(layers: LayerMap, student_layers: int, teacher_layers: int, *, first: int = 1) -> tuple[Pair, ...]:
    """The pairs that a recipe's `layers` names. `first`: 0 where the embeddings may be among them.

    `uniform`: the student's m-th of M with the teacher's m * N / M-th, rounded to the nearest (half up), at least 1; so the last
    ones always meet (Jiao et al. 2020, section 4.3: g(m) = 3m for 4 of 12). Raises RecipeError for a layer that is not there.
    """
    if student_layers == 0:
        raise RecipeError('[[method.features]]: this student has no layers to compare. Take loss = "pooled", for one.')
    if layers == "last":
        return ((student_layers, teacher_layers),)
    if layers == "uniform":
        return tuple((m, max(1, _nearest(m * teacher_layers, student_layers))) for m in range(1, student_layers + 1))
    for student, teacher in layers:
        if not (first <= student <= student_layers and first <= teacher <= teacher_layers):
            raise RecipeError(
                f"[[method.features]] layers: [{student}, {teacher}] is not a pair of a student's and a teacher's layer: the "
                f"student has {first} to {student_layers}, the teacher {first} to {teacher_layers}"
                f"{'; 0 are the embeddings' if first == 0 else ''}."
            )
    if not layers:
        raise RecipeError('[[method.features]] layers = [] compares nothing. Take "uniform", "last", or pairs like [[2, 6]].')
    return tuple(layers)


def _nearest(numerator: int, denominator: int) -> int:
    """numerator / denominator, rounded half up, in whole numbers: 0.5 must not depend on a float."""
    return (2 * numerator + denominator) // (2 * denominator)


def _pairs(feature: Feature, student_layers: int, teacher_layers: int) -> tuple[Pair, ...]:
    kind = _kind(feature)
    if kind.compares == "layers":
        return layer_pairs(feature.layers, student_layers, teacher_layers, first=kind.first_layer)
    if not isinstance(feature.layers, str):
        raise RecipeError(
            f'[[method.features]] loss = "{feature.loss}" compares {kind.compares} states, of which each network has one. '
            "Leave layers out."
        )
    return ((0, 0),) if kind.compares == "embeddings" else ((student_layers, teacher_layers),)


def _kind(feature: Feature) -> Any:
    return FEATURES.resolve(feature.loss)


def built(feature: Feature) -> FeatureLoss:
    """Its loss, with its options. Raises UsageError for one that does not exist, RecipeError for options it does not take."""
    kind = _kind(feature)
    try:
        loss: FeatureLoss = kind(**feature.options)
    except (TypeError, ValueError) as exc:
        known = [name for name in inspect.signature(kind.__init__).parameters if name not in {"self", "args", "kwargs"}]
        raise RecipeError(
            f'[[method.features]] loss = "{feature.loss}" does not take options = {feature.options}. '
            f"It takes {', '.join(known) or 'none'}."
        ) from exc
    return loss


def _numbered(names: Sequence[str]) -> tuple[str, ...]:
    """hidden_states, hidden_states_2, ..."""
    return tuple(name if names[:i].count(name) == 0 else f"{name}_{names[:i].count(name) + 1}" for i, name in enumerate(names))


def _union(all_wanted: Sequence[Wanted]) -> Wanted:
    return Wanted(
        hidden=any(wanted.hidden for wanted in all_wanted),
        attention=any(wanted.attention for wanted in all_wanted),
        relations=frozenset[str]().union(*(wanted.relations for wanted in all_wanted)),
        pooled=any(wanted.pooled for wanted in all_wanted),
    )
