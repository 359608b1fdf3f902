"""What a teacher might have said, by chance: rows of each tier for a few examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.signals import (
    Entry,
    HiddenRows,
    Key,
    Rows,
    SampledRows,
    ScoreRows,
    Shape,
    SignalReader,
    SignalWriter,
    Tier,
    TopRows,
    sampled_rows,
)

TIERS: tuple[Tier, ...] = ("hidden", "logits", "top_k", "sampled")
WIDTH, K, DRAWS = 5, 4, 12


def key(tier: Tier, **changes: Any) -> Key:
    return Key(**{"tokenizer": "sha256:t", "teacher": "sha256:w", "tier": tier, **changes})


def entries(rows: Sequence[int], prefix: str = "example") -> list[Entry]:
    return [Entry(example=f"{prefix}-{i}", content=f"content-{i}", rows=count) for i, count in enumerate(rows)]


def rows_of_chance(tier: Tier, count: int, vocabulary: int, seed: int) -> Rows:
    """`count` rows."""
    random = np.random.default_rng(seed)
    if tier == "hidden":
        return HiddenRows(random.normal(size=(count, WIDTH)).astype(np.float16))
    if tier == "logits":
        return ScoreRows(random.normal(size=(count, vocabulary)).astype(np.float16))
    if tier == "sampled":
        return sampled_rows(random.integers(0, vocabulary, size=(count, DRAWS)))
    k = min(K, vocabulary)
    ids = np.stack([random.permutation(vocabulary)[:k] for _ in range(count)]) if count else np.zeros((0, k))
    log_probs = -random.exponential(size=(count, k + 1)).astype(np.float16)
    log_probs[random.random(log_probs.shape) < 0.1] = -np.inf
    return TopRows(ids.astype(np.int32), log_probs[:, :-1], log_probs[:, -1])


def arrays(rows: Rows) -> dict[str, np.ndarray]:
    return vars(rows)


def same(first: Rows, second: Rows) -> bool:
    """Bit for bit, types included."""
    return type(first) is type(second) and all(
        one.dtype == arrays(second)[name].dtype and np.array_equal(one, arrays(second)[name])
        for name, one in arrays(first).items()
    )


def part(rows: Rows, start: int, end: int) -> Rows:
    """Some of the rows."""
    if isinstance(rows, SampledRows):
        borders = np.concatenate([[0], np.cumsum(rows.uniques_N)])
        span = slice(borders[start], borders[end])
        return SampledRows(rows.ids_U[span], rows.counts_U[span], rows.uniques_N[start:end])
    return type(rows)(*(array[start:end] for array in arrays(rows).values()))


def write(root: Path, tier: Tier, counts: Sequence[int], *, vocabulary: int = 40, each: int = 2, **options: Any) -> Path:
    """A cache of `len(counts)` examples, `each` a block. Examples that are there are left. Returns its folder."""
    whole, listed = rows_of_chance(tier, sum(counts), vocabulary, 0), entries(counts)
    borders = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    with SignalWriter(root, key(tier), Shape(vocabulary=vocabulary), **options) as writer:
        wanted = {entry.example for entry in writer.missing(listed)}
        for start in range(0, len(listed), each):
            block = [i for i in range(start, min(start + each, len(listed))) if listed[i].example in wanted]
            if block:
                writer.add([listed[i] for i in block], part(whole, borders[block[0]], borders[block[-1] + 1]))
    return root / key(tier).name


def read(folder: Path, examples: Sequence[Entry]) -> Rows:
    return SignalReader(folder).rows([entry.example for entry in examples])
