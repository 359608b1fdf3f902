"""Which channels are kept of a wider network, and what weights look like that were cut to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from stillhouse.errors import RecipeError
from stillhouse.students.initialising.widths import Heads, Importance, cut, keep, measure

FOUR = Heads(queries=4, keys=4, width=4)


def bert(width: int, heads: int, ffn: int, layers: int = 2) -> Any:
    """A random one; the same sizes make the same weights."""
    config = BertConfig(
        vocab_size=20,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        max_position_embeddings=16,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BertModel(config, add_pooling_layer=False).eval()


def importance(width: list[float], heads: list[float], ffn: list[float]) -> Importance:
    return Importance(torch.tensor(width), {0: torch.tensor(heads)}, {0: torch.tensor(ffn)})


def test_the_most_important_channels_are_kept_in_their_order() -> None:
    found = importance([5, 1, 4, 3], [0.0] * 4 + [1.0] * 4 + [3.0] * 4 + [2.0] * 4, [1, 9, 8, 2, 7])
    kept = keep(found, FOUR, Heads(queries=2, keys=2, width=4), width=3, ffn=2)
    assert kept.width.tolist() == [0, 2, 3]
    assert kept.ffn[0].tolist() == [1, 2]
    assert kept.heads[0].tolist() == kept.kv[0].tolist() == [8, 9, 10, 11, 12, 13, 14, 15]


def test_queries_that_share_a_key_stay_together() -> None:
    grouped = Heads(queries=4, keys=2, width=2)
    found = importance([1.0], [0, 0, 9, 9, 2, 2, 2, 2], [1.0])
    kept = keep(found, grouped, Heads(queries=2, keys=1, width=2), width=1, ffn=1)
    assert (kept.heads[0].tolist(), kept.kv[0].tolist()) == ([0, 1, 2, 3], [0, 1])


@pytest.mark.parametrize(
    ("student", "width", "ffn", "named"),
    [
        (Heads(2, 2, 8), 3, 2, "Heads are kept whole"),
        (Heads(4, 2, 4), 3, 2, "to a key"),
        (Heads(2, 2, 4), 5, 2, "hidden_size"),
        (Heads(2, 2, 4), 3, 6, "intermediate_size"),
        (Heads(8, 8, 4), 3, 2, "narrower, not wider"),
    ],
)
def test_what_does_not_fit_is_refused(student: Heads, width: int, ffn: int, named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        keep(importance([1.0] * 4, [1.0] * 16, [1.0] * 5), FOUR, student, width=width, ffn=ffn)


def test_a_channel_that_nothing_flows_through_is_the_first_to_go() -> None:
    network = bert(16, 4, 32)
    with torch.no_grad():
        network.embeddings.LayerNorm.weight[5] = 0.0  # nothing of it reaches the first layer
        for layer in network.encoder.layer:
            layer.attention.output.LayerNorm.weight[5] = layer.output.LayerNorm.weight[5] = 0.0
    asleep = measure(network, lambda: network(input_ids=torch.arange(16)[None]))
    assert int(asleep.width_H.argmin()) == 5
    assert asleep.width_H[5] < 1e-6 < asleep.width_H.median()
    assert set(asleep.heads) == set(asleep.ffn) == {0, 1}
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_weights_are_cut_to_what_is_kept() -> None:
    theirs, ours = bert(16, 4, 32), bert(8, 2, 12, layers=1)
    found = measure(theirs, None)
    kept = keep(found, Heads.of(theirs.config), Heads.of(ours.config), width=8, ffn=12)
    assert cut(theirs, ours, (1,), kept) == []
    source, target = theirs.encoder.layer[1], ours.encoder.layer[0]
    assert torch.equal(target.intermediate.dense.weight, source.intermediate.dense.weight[kept.ffn[1]][:, kept.width])
    assert torch.equal(target.attention.self.key.weight, source.attention.self.key.weight[kept.kv[1]][:, kept.width])
    words = theirs.embeddings.word_embeddings.weight
    assert torch.equal(ours.embeddings.word_embeddings.weight, words[:, kept.width])


def test_of_its_own_sizes_it_is_the_same_network() -> None:
    theirs, ours = bert(16, 4, 32), bert(16, 4, 32)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()
    whole = Heads.of(theirs.config)
    assert cut(theirs, ours, (0, 1), keep(measure(theirs, None), whole, whole, width=16, ffn=32)) == []
    assert all(torch.equal(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))
