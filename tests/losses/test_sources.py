"""Sources say the same of any rows as of all, in whatever form they keep it.

Shapes: N rows, V vocabulary, K kept tokens.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from stillhouse.losses.base import Rows, Target
from stillhouse.losses.sources import Dense, Mixture, Projected, Sampled, Source, Sparse
from stillhouse.tensors import Head
from tests.losses.cases import N, V, scores

TOKENS_N = torch.arange(N)
TEMPERATURE_N1 = torch.linspace(1, 3, N, dtype=torch.float64)[:, None]
IDS_NK = torch.stack([torch.randperm(V)[:3] for _ in range(N)])


def sources() -> dict[str, Source]:
    hidden_NH, weight_VH = scores(1, size=4), scores(2, rows=V, size=4)
    return {
        "projected": Projected(hidden_NH, Head(weight_VH)),
        "dense": Dense(scores(3)),
        "sparse": Sparse(IDS_NK, scores(4).log_softmax(-1)[:, :3], V),
        "sampled": Sampled(IDS_NK, torch.ones(N, 3), V),
        "mixture": Mixture((Dense(scores(5)), Dense(scores(6))), torch.tensor([[0.3, 0.7]]).expand(N, 2)),
    }


def at(source: Source, rows: Rows, size: int = V) -> Target:
    return source.target(rows, TOKENS_N[rows], TEMPERATURE_N1[rows], size)


def tensors(target: Target) -> list[Tensor]:
    fields = (target.log_probs_NV, target.ids_NK, target.log_probs_NK, target.counts_NK)
    return [field for field in fields if field is not None]


@pytest.mark.parametrize("name", sorted(sources()))
@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([4, 0, 2])])
def test_some_rows_are_those_of_the_whole(name: str, rows: Rows) -> None:
    source = sources()[name]
    whole, some = at(source, slice(None)), at(source, rows)
    assert tensors(some)
    for one, other in zip(tensors(some), tensors(whole.at(rows)), strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize("name", ["projected", "dense", "mixture"])
def test_a_distribution_over_the_first_scores_sums_to_one_and_changes_nothing_it_was_made_of(name: str) -> None:
    source = sources()[name]
    first, again = (at(source, slice(None), size=V - 2).log_probs_NV for _ in range(2))
    assert first is not None
    assert again is not None
    assert torch.equal(first, again)
    assert first.shape == (N, V - 2)
    assert torch.allclose(first.exp().sum(dim=-1), torch.ones(N, dtype=torch.float64))


def test_dense_scores_are_divided_by_each_rows_temperature() -> None:
    expected_NV = (scores(3) / TEMPERATURE_N1).log_softmax(-1)
    log_probs_NV = at(sources()["dense"], slice(None)).log_probs_NV
    assert log_probs_NV is not None
    assert torch.allclose(log_probs_NV, expected_NV)


def test_states_of_half_precision_are_read_by_the_head_in_its_own() -> None:
    hidden_NH, weight_VH = scores(1, size=4, dtype=torch.float32), scores(2, rows=V, size=4, dtype=torch.float32)
    log_probs_NV = at(Projected(hidden_NH.half(), Head(weight_VH)), slice(None)).log_probs_NV
    expected_NV = (hidden_NH.half().float() @ weight_VH.T / TEMPERATURE_N1).log_softmax(-1)
    assert log_probs_NV is not None
    assert torch.allclose(log_probs_NV, expected_NV.to(log_probs_NV.dtype), atol=1e-5)


def test_kept_tokens_beyond_the_students_vocabulary_go_to_the_tail() -> None:
    ids_NK, log_probs_NK = torch.tensor([[1, V - 1]]), torch.tensor([[0.6, 0.3]]).log()
    target = Sparse(ids_NK, log_probs_NK, V).target(slice(None), TOKENS_N[:1], TEMPERATURE_N1[:1], V - 1)
    assert target.ids_NK is not None
    assert target.log_probs_NK is not None
    assert target.ids_NK.tolist() == [[1, 0]]
    assert target.log_probs_NK[0, 1] == -math.inf
    counted = Sampled(ids_NK, torch.tensor([[3, 1]]), V).target(slice(None), TOKENS_N[:1], TEMPERATURE_N1[:1], V - 1)
    assert counted.counts_NK is not None
    assert counted.counts_NK.tolist() == [[3, 0]]


def test_a_mixture_is_the_weighted_mean_of_probabilities() -> None:
    one_NV, other_NV = ((scores(seed) / TEMPERATURE_N1).softmax(-1) for seed in (5, 6))
    mixed = at(sources()["mixture"], slice(None)).log_probs_NV
    assert mixed is not None
    assert torch.allclose(mixed.exp(), 0.3 * one_NV + 0.7 * other_NV, atol=1e-7)


def test_a_mixture_leaves_out_who_has_no_weight_and_refuses_who_keeps_only_some_tokens() -> None:
    alone = Mixture((Dense(scores(5)), Dense(scores(6))), torch.tensor([[1.0, 0.0]]).expand(N, 2))
    mixed, expected = at(alone, slice(None)).log_probs_NV, at(Dense(scores(5)), slice(None)).log_probs_NV
    assert mixed is not None
    assert expected is not None
    assert torch.allclose(mixed, expected)
    with pytest.raises(ValueError, match="Sparse keeps only some tokens"):
        at(Mixture((sources()["sparse"],), torch.ones(N, 1)), slice(None))
