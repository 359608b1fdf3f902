"""Every tier gives back what it was given, bit for bit, whichever examples are asked for and in whichever order."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.signals import Shape, SignalReader, SignalWriter, Tier
from stillhouse.signals.blocks import Block, write_block
from stillhouse.signals.tiers import Rows, SampledRows, TopRows, columns_of, sampled_rows
from tests.signals.said import TIERS, arrays, entries, key, part, rows_of_chance, same


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TIERS), st.lists(st.integers(0, 6), min_size=1, max_size=7), st.integers(1, 300), st.integers(0, 999))
def test_what_is_read_is_what_was_written(tier: Tier, counts: list[int], vocabulary: int, seed: int) -> None:
    rows, listed = rows_of_chance(tier, sum(counts), vocabulary, seed), entries(counts)
    borders = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    with TemporaryDirectory() as root:
        with SignalWriter(Path(root), key(tier), Shape(vocabulary=vocabulary)) as writer:
            half = len(counts) // 2
            if half:
                writer.add(listed[:half], part(rows, 0, borders[half]))
            writer.add(listed[half:], part(rows, borders[half], borders[-1]))
        reader = SignalReader(Path(root) / key(tier).name)
        assert same(reader.rows([entry.example for entry in listed]), rows)
        for i in random.Random(seed).sample(range(len(counts)), len(counts)):
            assert same(reader.rows([listed[i].example]), part(rows, borders[i], borders[i + 1]))


@given(st.integers(1, 30), st.integers(1, 20), st.integers(1, 60), st.integers(0, 999))
def test_draws_are_counted(rows: int, vocabulary: int, samples: int, seed: int) -> None:
    draws_NS = np.random.default_rng(seed).integers(0, vocabulary, size=(rows, samples))
    kept = sampled_rows(draws_NS)
    starts = np.cumsum(kept.uniques_N) - kept.uniques_N
    for row, start, uniques in zip(draws_NS, starts, kept.uniques_N, strict=True):
        ids, counts = np.unique(row, return_counts=True)
        assert kept.ids_U[start : start + uniques].tolist() == ids.tolist()
        assert kept.counts_U[start : start + uniques].tolist() == counts.tolist()


def test_rows_drawn_from_unequally_often_are_refused() -> None:
    rows = SampledRows(np.asarray([1, 2]), np.asarray([3, 4]), np.asarray([1, 1]))
    with pytest.raises(ValueError, match="equally often"):
        columns_of(rows, np.asarray([2]), 10)


def test_a_token_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    rows = TopRows(np.asarray([[64]]), np.zeros((1, 1), np.float16), np.zeros(1, np.float16))
    with SignalWriter(tmp_path, key("top_k"), Shape(vocabulary=64)) as writer, pytest.raises(ValueError, match="64 does not fit"):
        writer.add(entries([1]), rows)


@pytest.mark.parametrize("tier", TIERS)
def test_rows_that_are_not_the_examples_are_refused(tmp_path: Path, tier: Tier) -> None:
    with SignalWriter(tmp_path, key(tier), Shape(vocabulary=40)) as writer, pytest.raises(ValueError, match="add up|shape"):
        writer.add(entries([2, 2]), rows_of_chance(tier, 3, 40, 0))


@pytest.mark.parametrize("tier", TIERS)
def test_examples_without_rows_are_kept_too(tmp_path: Path, tier: Tier) -> None:
    with SignalWriter(tmp_path, key(tier), Shape(vocabulary=40)) as writer:
        writer.add(entries([0, 0]), rows_of_chance(tier, 0, 40, 0))
    assert all(len(array) == 0 for array in arrays(SignalReader(tmp_path / key(tier).name).rows(["example-1"])).values())


@pytest.mark.parametrize(("tier", "bound"), [("top_k", 300), ("sampled", 40)])
def test_a_row_costs_few_bytes(tier: Tier, bound: int) -> None:
    """Of a vocabulary of 152k: the default of 64 likeliest, and 50 draws of a dozen tokens."""
    random, rows, vocabulary = np.random.default_rng(0), 2000, 151_936
    ids_NK = random.integers(0, vocabulary, size=(rows, 64), dtype=np.int32)
    said: Rows
    if tier == "top_k":
        log_probs_NK = -np.sort(random.exponential(3, size=(rows, 64))).astype(np.float16)
        said = TopRows(ids_NK, log_probs_NK, log_probs_NK[:, 0])
    else:
        places_NS = np.minimum(random.geometric(0.25, size=(rows, 50)), 12)
        said = sampled_rows(np.take_along_axis(ids_NK, places_NS, axis=1))
        assert 8 <= said.uniques_N.mean() <= 12
    block = Block(tuple(entries([rows])), columns_of(said, np.asarray([rows]), vocabulary))
    assert len(write_block(block)) / rows <= bound
