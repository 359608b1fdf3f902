"""A teacher that was asked before: what it said is read from its cache, by example, and no weight of it is in memory.

The cache is built by `training/caching.py`, or, for answers that came with log-probabilities, by `training/logprobs.py`.

Shapes: N supervised rows, U kept tokens of all rows one after the other, K kept tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from stillhouse.errors import NotFoundError, TrainingError
from stillhouse.losses.sources import Dense, Projected, Sampled, Source, Sparse
from stillhouse.signals import Entry, HiddenRows, Rows, SampledRows, ScoreRows, SignalReader, TopRows
from stillhouse.students.states import real_tokens
from stillhouse.tensors import Batch, Head, States, Wanted
from stillhouse.training.inner_states import states_of
from stillhouse.training.teachers.base import Teaching

PRECISION = torch.float32
"""What is read from float16 is computed with in this."""


class CachedTeacher(Teaching):
    """Stands where a live one would, row for row."""

    def __init__(self, reader: SignalReader, entries: Iterable[Entry], *, order: Sequence[int] | None = None) -> None:
        """`entries`: all examples of the run as they are now (`caching.entry_of`). `order`: as of a live teacher.

        Raises NotFoundError for one that the cache does not hold, StoreError for one that the teacher read otherwise.
        """
        reader.check(entries)
        self._reader = reader
        self._order = None if order is None else torch.tensor(tuple(order))
        self._head = _head(reader) if reader.key.tier == "hidden" else None
        if self._head is not None and order is not None:
            self._head = self._head.picked(tuple(order))

    def source(self, batch: Batch) -> Source:
        """Raises TrainingError for an example that the cache does not hold, or of which it holds other rows."""
        self._check_rows(batch)
        return self._source(self._reader.rows(batch.examples), batch.targets_N.device)

    def states(self, batch: Batch, wanted: Wanted) -> States:
        arrays = {name: self._reader.states(batch.examples, name) for name in self._reader.key.states}
        return states_of(arrays, real_tokens(batch))

    def to(self, device: torch.device) -> CachedTeacher:
        if self._head is not None:
            bias = self._head.bias_V
            self._head = Head(
                self._head.weight_VH.to(device),
                None if bias is None else bias.to(device),
                scale=self._head.scale,
                soft_cap=self._head.soft_cap,
            )
        return self

    def _check_rows(self, batch: Batch) -> None:
        known = self._reader.entries
        unknown = [example for example in batch.examples if example not in known]
        if unknown:
            raise TrainingError(
                f"The teacher's cache holds nothing about {unknown[0]}: it knows the examples it was built for. Learn from new "
                'texts with [method] source = "live".'
            )
        counts = torch.bincount(batch.owners_N, minlength=len(batch.examples)).tolist()
        for example, count in zip(batch.examples, counts, strict=True):
            if known[example].rows != count:
                raise TrainingError(f"The example {example} has {count} rows here and {known[example].rows} in the cache.")

    def _source(self, rows: Rows, device: torch.device) -> Source:
        vocabulary = self._reader.shape.vocabulary
        if isinstance(rows, HiddenRows):
            assert self._head is not None
            return Projected(_tensor(rows.states_NH, device).to(PRECISION), self._head)
        if isinstance(rows, ScoreRows):
            scores_NV = _tensor(rows.scores_NV, device).to(PRECISION)
            return Dense(scores_NV if self._order is None else scores_NV[:, self._order.to(device)])
        if isinstance(rows, TopRows):
            ids_NK = _tensor(rows.ids_NK, device).long()
            return Sparse(ids_NK, _summing_to_one(rows, device), vocabulary)
        return _drawn(rows, vocabulary, device)


def _head(reader: SignalReader) -> Head:
    if "weight" not in reader.head:
        raise NotFoundError(f"The teacher's cache in {reader.folder} lacks the teacher's head. Build it again.")
    bias = reader.head.get("bias")
    return Head(
        _tensor(reader.head["weight"], torch.device("cpu")),
        None if bias is None else _tensor(bias, torch.device("cpu")),
        scale=reader.shape.scale,
        soft_cap=reader.shape.soft_cap,
    )


def _summing_to_one(rows: TopRows, device: torch.device) -> Tensor:
    """log_probs_NK of which the tail is missing to 1, as it was kept.

    Each was rounded to float16. Whoever takes the tail as 1 minus their sum would get that rounding, which can be more than the
    tail: so kept tokens and tail are divided by what they sum to together. Neither is dropped, nor grows but for rounding.
    """
    log_probs_NK = _tensor(rows.log_probs_NK, device).to(PRECISION)
    log_tail_N1 = _tensor(rows.log_tail_N, device).to(PRECISION)[:, None]
    return log_probs_NK - torch.cat([log_probs_NK, log_tail_N1], dim=-1).logsumexp(dim=-1, keepdim=True)


def _drawn(rows: SampledRows, vocabulary: int, device: torch.device) -> Sampled:
    """As many places a row as the row with the most ids has; the others' are filled with token 0, drawn 0 times."""
    width = int(rows.uniques_N.max()) if len(rows.uniques_N) else 0
    taken_NK = np.arange(width) < rows.uniques_N[:, None]
    ids_NK, counts_NK = np.zeros(taken_NK.shape, np.int64), np.zeros(taken_NK.shape, np.int32)
    ids_NK[taken_NK], counts_NK[taken_NK] = rows.ids_U, rows.counts_U
    return Sampled(_tensor(ids_NK, device), _tensor(counts_NK, device), vocabulary)


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """Copied: what is mapped from a file cannot be written to, and a tensor could."""
    return torch.from_numpy(np.array(array)).to(device)
