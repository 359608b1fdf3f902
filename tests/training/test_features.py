"""A recipe's features between two networks: layer maps, projections, weights; and that each one brings a student closer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from stillhouse.errors import RecipeError, UsageError
from stillhouse.features import FEATURES
from stillhouse.features.base import FeatureLoss
from stillhouse.method import Feature, LayerMap
from stillhouse.students.states import shape_of, with_states
from stillhouse.tensors import States, Wanted
from stillhouse.training.features import FeatureTerms, layer_pairs
from tests.features.sides import built, mapped, mask, states

torch.set_num_threads(1)


def terms(
    *features: Feature, student: tuple[int, int] = (2, 8), teacher: tuple[int, int] = (2, 8), seed: int = 0
) -> FeatureTerms:
    """Between networks of (layers, width)."""
    return FeatureTerms(features, student[0], teacher[0], student[1], teacher[1], seed).double()


# -- layer maps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (4, 12, [(1, 3), (2, 6), (3, 9), (4, 12)]),  # TinyBERT's g(m) = 3m
        (3, 6, [(1, 2), (2, 4), (3, 6)]),
        (4, 6, [(1, 2), (2, 3), (3, 5), (4, 6)]),  # 1.5 and 4.5, half up
        (5, 12, [(1, 2), (2, 5), (3, 7), (4, 10), (5, 12)]),
        (6, 6, [(m, m) for m in range(1, 7)]),
        (4, 2, [(1, 1), (2, 1), (3, 2), (4, 2)]),  # a deeper student
        (6, 1, [(m, 1) for m in range(1, 7)]),
    ],
)
def test_uniform_spreads_the_layers_and_the_last_ones_meet(student: int, teacher: int, expected: list[tuple[int, int]]) -> None:
    assert list(layer_pairs("uniform", student, teacher)) == expected


def test_last_is_the_last_with_the_last() -> None:
    assert layer_pairs("last", 3, 12) == ((3, 12),)


def test_pairs_are_taken_as_they_are() -> None:
    assert layer_pairs(((1, 6), (2, 6)), 2, 6) == ((1, 6), (2, 6))
    assert layer_pairs(((0, 0),), 2, 6, first=0) == ((0, 0),)


@pytest.mark.parametrize("pair", [(3, 1), (1, 7), (0, 1), (1, 0), (-1, 1)])
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(pair: tuple[int, int]) -> None:
    with pytest.raises(RecipeError, match="the student has 1 to 2, the teacher 1 to 6"):
        layer_pairs((pair,), 2, 6)


def test_no_pairs_compare_nothing() -> None:
    with pytest.raises(RecipeError, match="uniform"):
        layer_pairs((), 2, 6)


def test_embeddings_stand_for_a_layer_where_hidden_states_are_compared_and_nowhere_else() -> None:
    terms(Feature(loss="hidden_states", layers=((0, 0),)))
    with pytest.raises(RecipeError, match="1 to 2"):
        terms(Feature(loss="attention", layers=((0, 0),)))


# -- terms -----------------------------------------------------------------------------------------------------------------


def test_a_term_is_its_weight_times_the_mean_over_its_layers() -> None:
    student, teacher = states(0), states(1)
    found = terms(Feature(loss="hidden_states", weight=3.0))(student, teacher)
    each = [built("hidden_states")(student, teacher, pair) for pair in ((1, 1), (2, 2))]
    assert list(found) == ["hidden_states"]
    torch.testing.assert_close(found["hidden_states"], 3.0 * (each[0] + each[1]) / 2)


def test_a_loss_that_comes_twice_has_two_names() -> None:
    both = terms(
        Feature(loss="hidden_states"), Feature(loss="pooled"), Feature(loss="hidden_states", options={"metric": "cosine"})
    )
    assert both.names == ("hidden_states", "pooled", "hidden_states_2")
    assert list(both(states(0), states(1))) == list(both.names)


def test_all_that_any_of_them_compares_is_wanted() -> None:
    several = terms(
        Feature(loss="relations", options={"parts": ["values"]}),
        Feature(loss="relations", options={"parts": ["keys"]}),
        Feature(loss="pkt"),
    )
    assert several.wanted == Wanted(relations=frozenset({"keys", "values"}), pooled=True)
    assert terms(Feature(loss="attention"), Feature(loss="patient")).wanted == Wanted(hidden=True, attention=True)
    assert not terms().wanted and terms()(states(0), states(1)) == {}


def test_what_a_cache_has_to_keep_is_said() -> None:
    given = terms(Feature(loss="hidden_states"), Feature(loss="embeddings"), Feature(loss="pooled"), teacher=(6, 8))
    assert given.teacher_layers == {0, 3, 6}
    assert given.aligned and not given.within_batch
    assert terms(Feature(loss="rkd_angle")).within_batch and not terms(Feature(loss="rkd_angle")).aligned


def test_projections_are_parameters_and_survive_a_checkpoint() -> None:
    features = [Feature(loss="hidden_states"), Feature(loss="pooled")]
    first, other = (terms(*features, teacher=(4, 12), seed=seed) for seed in (0, 1))
    assert [tuple(weight.shape) for weight in first.parameters()] == [(12, 8)] * 3
    student, teacher = states(0), states(1, width=12, layers=4)
    before = first(student, teacher)["hidden_states"]
    assert not torch.allclose(other(student, teacher)["hidden_states"], before)
    other.load_state_dict(first.state_dict())
    assert torch.equal(other(student, teacher)["hidden_states"], before)


def test_the_same_seed_draws_the_same_projections() -> None:
    one, same = (terms(Feature(loss="hidden_states"), teacher=(2, 12)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    weights = list(one.parameters())
    assert not torch.equal(weights[0], weights[1])  # each pair has one of its own


def test_autocast_does_not_coarsen_the_comparison() -> None:
    student, teacher = (mapped(states(seed), lambda value: value.float()) for seed in (0, 1))
    given = terms(Feature(loss="relations"), Feature(loss="hidden_states"), Feature(loss="pkt")).float()
    plain = given(student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        under = given(student, teacher)
    assert all(torch.equal(under[name], plain[name]) for name in plain)


def test_an_option_it_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(RecipeError, match=r"does not take options = \{'metrik': 'cosine'\}. It takes metric, normalise"):
        terms(Feature(loss="hidden_states", options={"metrik": "cosine"}))
    with pytest.raises(RecipeError, match="It takes none"):
        terms(Feature(loss="pkt", options={"sigma": 1}))


def test_a_feature_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match="There is no feature 'hidden'. There are: attention, embeddings"):
        terms(Feature(loss="hidden"))


@pytest.mark.parametrize("layers", ["uniform", "last", ((1, 1),)])
def test_a_student_without_layers_has_none_to_compare(layers: LayerMap) -> None:
    with pytest.raises(RecipeError, match="no layers to compare"):
        layer_pairs(layers, 0, 6)


@pytest.mark.parametrize("loss", ["embeddings", "pooled", "rkd_distance"])
def test_pairs_for_a_loss_without_layers_are_refused(loss: str) -> None:
    with pytest.raises(RecipeError, match="Leave layers out"):
        terms(Feature(loss=loss, layers=((1, 1),)))


def test_different_tokens_are_refused_where_tokens_are_compared_and_nowhere_else() -> None:
    student, teacher = states(0), states(1, mask_BT=mask(9, (9, 2, 3, 4)))
    with pytest.raises(RecipeError, match="as 9 tokens, the student as 6"):
        terms(Feature(loss="hidden_states"))(student, teacher)
    assert terms(Feature(loss="pooled"), Feature(loss="patient"))(student, teacher)["pooled"].shape == (4,)


def test_local_mean_under_gradient_accumulation() -> None:
    """TRL #4719: means over micro-batches count a smaller one's examples for more. Sums, divided once, do not."""
    given = terms(Feature(loss="hidden_states"), Feature(loss="relations"), Feature(loss="patient"), Feature(loss="pooled"))
    assert not given.within_batch

    def rows(side: States, start: int, end: int) -> States:
        cut = mapped(side, lambda value: value[start:end])
        return States(**{**vars(cut), "mask_BT": side.mask_BT[start:end]})

    def summed(start: int, end: int) -> Tensor:
        return torch.stack([term_B.sum() for term_B in given(rows(states(0), start, end), rows(states(1), start, end)).values()])

    torch.testing.assert_close(summed(0, 3) + summed(3, 4), summed(0, 4))


# -- two real networks -------------------------------------------------------------------------------------------------------


def bert(layers: int, width: int, heads: int, seed: int) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=60,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=16,
        initializer_range=0.2,
    )
    return BertModel(config, add_pooling_layer=False).eval()


def texts(seed: int, *, padded: bool = True) -> dict[str, Tensor]:
    """32 of 2 to 5 tokens, each about one of ten topics, so that there is something to tell them apart by."""
    generator = torch.Generator().manual_seed(seed)
    topics_B1 = torch.randint(0, 10, (32, 1), generator=generator)
    lengths_B1 = torch.randint(2, 6, (32, 1), generator=generator) if padded else torch.full((32, 1), 5)
    tokens_BT = topics_B1 * 6 + torch.randint(0, 6, (32, 5), generator=generator)
    return {"input_ids": tokens_BT, "attention_mask": (torch.arange(5) < lengths_B1).long()}


def seen(network: BertModel, given: dict[str, Tensor], wanted: Wanted) -> States:
    return with_states(network, wanted, lambda: network(**given), given["attention_mask"].bool())[1]


@pytest.mark.parametrize("loss", FEATURES.names())
def test_forty_steps_bring_a_student_closer_on_texts_it_has_not_seen(loss: str) -> None:
    """Closer than it was, and closer to what the teacher makes of this text than to what it makes of another."""
    teacher, student = bert(3, 24, 4, seed=1).requires_grad_(False), bert(2, 16, 2, seed=2)
    layers, width = shape_of(student)
    given = FeatureTerms([Feature(loss=loss)], layers, shape_of(teacher)[0], width, shape_of(teacher)[1])

    def distance(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> Tensor:
        [term_B] = given(seen(student, mine, given.wanted), seen(teacher, theirs, given.wanted)).values()
        mean: Tensor = term_B.mean()
        return mean

    unseen = texts(99, padded=False)
    other = {name: value.roll(1, dims=0) for name, value in unseen.items()}
    with torch.no_grad():
        before = distance(unseen, unseen)
    optimizer = torch.optim.AdamW([*student.parameters(), *given.parameters()], lr=1e-2)
    for step in range(40):
        batch = texts(step)
        optimizer.zero_grad()
        torch.autograd.backward(distance(batch, batch))
        optimizer.step()
    with torch.no_grad():
        after = distance(unseen, unseen)
        assert after < 0.7 * before
        assert after < 0.8 * distance(unseen, other)


def test_a_third_party_loss_is_built_like_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Largest(FeatureLoss):
        wanted = Wanted(pooled=True)
        compares = "pooled"

        def __init__(self, *, power: int = 1) -> None:
            super().__init__()
            self.power = power

        def forward(self, student: States, teacher: States, layers: tuple[int, int]) -> Tensor:
            assert student.pooled_BH is not None and teacher.pooled_BH is not None
            return (student.pooled_BH.amax(dim=1) - teacher.pooled_BH.amax(dim=1)).abs() ** self.power

    def resolve(name: str) -> Any:
        return Largest

    monkeypatch.setattr(FEATURES, "resolve", resolve)
    assert terms(Feature(loss="largest", options={"power": 2}))(states(0), states(1))["largest"].shape == (4,)
