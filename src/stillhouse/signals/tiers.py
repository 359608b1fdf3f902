"""What each tier keeps of a row, as plain arrays, and how those lie in a block.

Writing (`columns_of`) and reading (`expanded`, `rows_of`) are each other's inverse, bit for bit: whoever rounds does it before.

Shapes: N rows, H the teacher's width, V vocabulary, K kept tokens, S draws, U kept tokens of all rows one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stillhouse.signals.blocks import Array, Block, Column
from stillhouse.signals.key import Tier
from stillhouse.signals.ranks import RankedIds, ranked, unranked


@dataclass(frozen=True)
class HiddenRows:
    """Last states before the head. 2 H bytes a row."""

    states_NH: Array
    """float16."""


@dataclass(frozen=True)
class ScoreRows:
    """All scores. 2 V bytes a row."""

    scores_NV: Array
    """float16."""


@dataclass(frozen=True)
class TopRows:
    """The likeliest tokens, at one temperature. About K (log2 V + 12) / 8 bytes a row."""

    ids_NK: Array
    """int32. Where a row has fewer than K, the rest repeat one of its ids."""
    log_probs_NK: Array
    """float16, in nats; -inf where an id only fills a place."""
    log_tail_N: Array
    """float16: of all tokens that are not kept, together. -inf where there are none. Kept and not computed, because 1 minus a
    sum of rounded numbers is mostly rounding."""


@dataclass(frozen=True)
class SampledRows:
    """Tokens drawn from the distribution (RS-KD). About (S + 8 U/N) / 8 bytes a row where some tokens are common: `ranks.py`."""

    ids_U: Array
    """int32, ascending within a row, each once."""
    counts_U: Array
    """int32: how often it was drawn."""
    uniques_N: Array
    """int32: how many ids are each row's."""


Rows = HiddenRows | ScoreRows | TopRows | SampledRows


def sampled_rows(draws_NS: Array) -> SampledRows:
    """Drawn ids, S of each row, as they are kept."""
    ordered_NS = np.sort(draws_NS, axis=1)
    return _counted(ordered_NS, _first_of_each(ordered_NS))


def columns_of(rows: Rows, counts: Array, vocabulary: int) -> dict[str, Column]:
    """The arrays that keep `rows`, of which each example has its `counts`. Raises ValueError for rows that do not fit a tier."""
    if isinstance(rows, HiddenRows):
        return {"hidden": Column(rows.states_NH.astype("<f2", copy=False))}
    if isinstance(rows, ScoreRows):
        return {"scores": Column(rows.scores_NV.astype("<f2", copy=False))}
    if isinstance(rows, TopRows):
        return {
            "ids": Column(rows.ids_NK.astype("<i4", copy=False), packing="bits", bound=vocabulary),
            "log_probs": Column(rows.log_probs_NK.astype("<f2", copy=False), packing="planes"),
            "log_tail": Column(rows.log_tail_N.astype("<f2", copy=False), packing="planes"),
        }
    return _sampled_columns(rows, counts, vocabulary)


def expanded(block: Block, tier: Tier) -> Block:
    """The block with the arrays that are read by: for sampled rows counts instead of the bits they are kept in."""
    if tier != "sampled":
        return block
    borders_NS = block.columns["borders"].values
    first_NS = np.concatenate([np.ones((len(borders_NS), 1), np.bool_), borders_NS.astype(np.bool_)], axis=1)
    column = block.columns["ranks" if "ranks" in block.columns else "ids"]  # ids: as caches kept them before there were ranks
    if int(first_NS.sum()) != len(column.values):
        raise ValueError("borders that do not fit the ids")
    rows = _counted(None, first_NS, column.values)
    if "ranks" in block.columns:
        said = RankedIds(block.columns["known"].values, block.columns["common"].values, column.values)
        ids_U, order_U = unranked(said, rows.uniques_N)
        rows = SampledRows(ids_U, rows.counts_U[order_U], rows.uniques_N)
    columns = {
        **{name: column for name, column in block.columns.items() if name not in ("borders", "ranks", "known", "common")},
        "ids": Column(rows.ids_U, column.lengths, "bits"),
        "counts": Column(rows.counts_U, column.lengths, "bits"),
        "uniques": Column(rows.uniques_N, None, "bits"),
    }
    return Block(block.entries, columns)


def names_of(tier: Tier) -> tuple[str, ...]:
    """The arrays of an expanded block that `rows_of` takes."""
    return {
        "hidden": ("hidden",),
        "logits": ("scores",),
        "top_k": ("ids", "log_probs", "log_tail"),
        "sampled": ("ids", "counts", "uniques"),
    }[tier]


def rows_of(tier: Tier, arrays: Mapping[str, Array]) -> Rows:
    """The arrays of some examples, one after the other, as rows."""
    if tier == "hidden":
        return HiddenRows(arrays["hidden"])
    if tier == "logits":
        return ScoreRows(arrays["scores"])
    if tier == "top_k":
        return TopRows(arrays["ids"], arrays["log_probs"], arrays["log_tail"])
    return SampledRows(arrays["ids"], arrays["counts"], arrays["uniques"])


def _sampled_columns(rows: SampledRows, counts: Array, vocabulary: int) -> dict[str, Column]:
    """Counts as a bit a draw, 1 where a new id begins: S - 1 bits a row, however many ids it has."""
    totals_N = np.add.reduceat(rows.counts_U, _starts(rows.uniques_N)) if len(rows.uniques_N) else np.zeros(0, np.int32)
    samples = int(totals_N[0]) if len(totals_N) else 1
    if (totals_N != samples).any():
        raise ValueError("every row is drawn from equally often")
    if len(totals_N) != counts.sum():
        raise ValueError(f"the examples' rows do not add up to {len(totals_N)}")
    if len(rows.ids_U) and not 0 <= int(rows.ids_U.min()) <= int(rows.ids_U.max()) < vocabulary:
        raise ValueError(f"ids from {rows.ids_U.min()} to {rows.ids_U.max()} do not fit into a vocabulary of {vocabulary}")
    said, order_U = ranked(rows.ids_U, rows.uniques_N)
    first = np.zeros(len(totals_N) * samples, dtype=np.uint8)
    first[_starts(rows.counts_U[order_U])] = 1
    owners = np.repeat(np.arange(len(counts)), counts)
    lengths = np.bincount(owners, weights=rows.uniques_N, minlength=len(counts)).astype(np.int64)
    whole = (len(said.known_D), *[0] * (len(counts) - 1))  # the block's, and no example's
    return {
        "known": Column(said.known_D, whole, "planes"),
        "common": Column(said.common_D, whole, "planes"),
        "ranks": Column(said.ranks_U, tuple(lengths.tolist()), "planes"),
        "borders": Column(first.reshape(-1, samples)[:, 1:], None, "bits", 2),
    }


def _first_of_each(ordered_NS: Array) -> Array:
    first_NS = np.ones(ordered_NS.shape, dtype=np.bool_)
    first_NS[:, 1:] = ordered_NS[:, 1:] != ordered_NS[:, :-1]
    return first_NS


def _counted(ordered_NS: Array | None, first_NS: Array, ids_U: Array | None = None) -> SampledRows:
    """`first_NS`: True at the first draw of each id of a row."""
    starts = np.flatnonzero(first_NS)
    if ids_U is None:
        assert ordered_NS is not None
        ids_U = ordered_NS[first_NS]
    counts_U = np.diff(np.append(starts, first_NS.size))
    return SampledRows(ids_U.astype(np.int32), counts_U.astype(np.int32), first_NS.sum(axis=1).astype(np.int32))


def _starts(lengths: Array) -> Array:
    """Where each part begins, of parts of these lengths."""
    ends = np.cumsum(lengths)
    return ends - lengths
