"""What every comparison of inner states has in common, over the whole registry and over the options of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.features import FEATURES
from stillhouse.tensors import States
from tests.features.sides import LENGTHS, PARTS, built, every, mapped, mask, states, trainable

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "hidden_states": [{"metric": "mse"}, {"metric": "mse", "normalise": False}, {"metric": "cosine"}],
    "patient": [{"token": "first"}, {"token": "last"}],
    "pooled": [{"metric": "cosine"}, {"metric": "mse"}],
    "relations": [{}, {"heads": 4}, {"parts": ["values"]}],
}
CASES = [(name, options) for name in FEATURES.names() for options in OPTIONS.get(name, [{}])]
IDS = [f"{name}-{'-'.join(map(str, options.values()))}" for name, options in CASES]
LAYERS = (1, 2)

each = pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)


def same(given: States) -> States:
    """With layers equal to each other, so that layer 1 of the one and layer 2 of the other agree."""
    parts: dict[str, Any] = {part: tuple(getattr(given, part)[-1] for _ in getattr(given, part)) for part in PARTS}
    return replace(given, **parts)


def gradients(loss_B: Tensor, student: States) -> list[Tensor]:
    found = torch.autograd.grad(loss_B.sum(), every(student), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


@each
def test_one_number_an_example_never_below_zero(name: str, options: dict[str, Any]) -> None:
    loss_B = built(name, 8, 4, **options)(states(0), states(1, width=4), LAYERS)
    assert loss_B.shape == (len(LENGTHS),)
    assert (loss_B >= -1e-12).all() and loss_B.sum() > 1e-3


@each
def test_zero_and_without_gradient_where_both_agree(name: str, options: dict[str, Any]) -> None:
    given = same(states(0))
    student = trainable(given)
    loss_B = built(name, **options)(student, given, LAYERS)
    torch.testing.assert_close(loss_B, torch.zeros_like(loss_B), atol=1e-12, rtol=0)
    assert all(gradient.abs().max() < 1e-7 for gradient in gradients(loss_B, student))


@each
@pytest.mark.parametrize("teacher_width", [8, 4])
def test_its_gradient_is_that_of_its_value(name: str, options: dict[str, Any], teacher_width: int) -> None:
    loss, student, teacher = built(name, 8, teacher_width, **options), trainable(states(0)), states(1, width=teacher_width)
    (student_layer, _), tensors = LAYERS, every(student)
    at = {id(value): i for i, value in enumerate(tensors)}
    read = [value for part in PARTS for value in getattr(student, part)[: student_layer + 1]]
    assert student.pooled_BH is not None
    inputs = [value for value in [student.pooled_BH, *read] if not value.isinf().any()]

    def value_of(*changed: Tensor) -> Tensor:
        by_place = {at[id(old)]: new for old, new in zip(inputs, changed, strict=True)}
        count = iter(range(len(tensors)))  # `mapped` walks hidden states first, then the other parts, then the pooled ones
        order = [value for part in PARTS for value in getattr(student, part)] + [student.pooled_BH]
        new = [by_place.get(at[id(value)], value) for value in order if value is not None]
        result: Tensor = loss(mapped(student, lambda _: new[next(count)]), teacher, LAYERS)
        return result

    assert torch.autograd.gradcheck(value_of, inputs, fast_mode=True)


@each
def test_padding_gets_exactly_no_gradient_whatever_stands_there(name: str, options: dict[str, Any]) -> None:
    real_BT = mask()

    def spoilt(value: Tensor) -> Tensor:
        if value.shape[:2] == real_BT.shape:
            return torch.where(real_BT[..., None], value, torch.nan)
        if value.dim() == 4:
            return torch.where(real_BT[:, None, :, None], value, torch.nan)
        return value

    clean, student = states(0), trainable(mapped(states(0), spoilt))
    teacher = states(1)
    loss_B = built(name, **options)(student, teacher, LAYERS)
    torch.testing.assert_close(loss_B, built(name, **options)(clean, teacher, LAYERS))
    for part in PARTS:
        for value in getattr(student, part):
            [gradient] = torch.autograd.grad(loss_B.sum(), [value], retain_graph=True, allow_unused=True)
            if gradient is not None:
                padded = ~real_BT if part == "hidden" else ~real_BT[:, None].expand(-1, value.shape[1], -1)
                assert (gradient[padded] == 0).all() and gradient.isfinite().all()


@each
def test_more_padding_changes_nothing(name: str, options: dict[str, Any]) -> None:
    def padded(given: States) -> States:
        def longer(value: Tensor) -> Tensor:
            if value.dim() == 2:
                return value
            grown = torch.cat([value, torch.full_like(value[..., :3, :], 7.0)], dim=-2)
            if value.shape[-1] == value.shape[-2] == 6:  # scores, over keys too
                grown = torch.cat([grown, torch.full_like(grown[..., :3], -torch.inf)], dim=-1)
            return grown

        return replace(mapped(given, longer), mask_BT=mask(9))

    student, teacher = states(0), states(1, width=4)
    loss = built(name, 8, 4, **options)
    torch.testing.assert_close(loss(padded(student), padded(teacher), LAYERS), loss(student, teacher, LAYERS))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] != "relations"])
def test_it_has_no_unit(name: str, options: dict[str, Any], scale: float) -> None:
    """Networks a thousand times as large in all their states give the same. Not relations: a softmax of products is in nats."""

    def larger(given: States) -> States:
        return mapped(given, lambda value: value * scale)

    loss, student, teacher = built(name, **options), states(0), states(1)
    torch.testing.assert_close(loss(larger(student), larger(teacher), LAYERS), loss(student, teacher, LAYERS))


@each
def test_states_of_zeros_give_finite_gradients_and_zero_where_both_are(name: str, options: dict[str, Any]) -> None:
    zero = mapped(states(0), lambda value: torch.where(value.isinf(), value, 0.0))
    student = trainable(zero)
    loss_B = built(name, **options)(student, zero, LAYERS)
    assert (loss_B == 0).all()
    for teacher in (zero, states(1)):
        loss_B = built(name, **options)(student, teacher, LAYERS)
        assert loss_B.isfinite().all()
        assert all(gradient.isfinite().all() and gradient.abs().max() < 1e3 for gradient in gradients(loss_B, student))
    student = trainable(states(1))
    loss_B = built(name, **options)(student, zero, LAYERS)
    assert loss_B.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients(loss_B, student))


@each
@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_examples_are_a_batch(name: str, options: dict[str, Any], count: int) -> None:
    def first(given: States) -> States:
        return replace(mapped(given, lambda value: value[:count]), mask_BT=given.mask_BT[:count])

    loss, student, teacher = built(name, **options), trainable(first(states(0))), first(states(1))
    loss_B = loss(student, teacher, LAYERS)
    assert loss_B.shape == (count,) and loss_B.isfinite().all()
    assert loss_B.requires_grad  # so that a step with nothing else to learn from still has a graph
    assert all(gradient.isfinite().all() for gradient in gradients(loss_B, student))
    if loss.within_batch and count == 1:
        assert (loss_B < 1e-24).all()  # 0 but for the rounding of a product, which differs between processors
    if not loss.within_batch:
        torch.testing.assert_close(loss_B, loss(states(0), states(1), LAYERS)[:count])


@each
def test_the_teacher_gets_no_gradient(name: str, options: dict[str, Any]) -> None:
    teacher = trainable(states(1))
    loss_B = built(name, **options)(trainable(states(0)), teacher, LAYERS)
    assert all(gradient is None for gradient in torch.autograd.grad(loss_B.sum(), every(teacher), allow_unused=True))


@each
def test_half_precision_is_widened(name: str, options: dict[str, Any]) -> None:
    def half(given: States) -> States:
        return mapped(given, lambda value: value.bfloat16())

    loss = built(name, **options).float()
    loss_B = loss(half(states(0)), half(states(1)), LAYERS)
    assert loss_B.dtype == torch.float32
    exact_B = loss(*(mapped(half(states(seed)), lambda value: value.float()) for seed in (0, 1)), LAYERS)
    torch.testing.assert_close(loss_B, exact_B)


@each
def test_it_says_what_it_reads(name: str, options: dict[str, Any]) -> None:
    """With nothing but what `wanted` names, it gives the same."""
    loss = built(name, **options)

    def only_wanted(given: States) -> States:
        return States(
            given.mask_BT,
            hidden=given.hidden if loss.wanted.hidden else (),
            pooled_BH=given.pooled_BH if loss.wanted.pooled else None,
            scores=given.scores if loss.wanted.attention else (),
            **{part: getattr(given, part) for part in loss.wanted.relations},
        )

    whole_B = loss(states(0), states(1), LAYERS)
    assert torch.equal(loss(only_wanted(states(0)), only_wanted(states(1)), LAYERS), whole_B)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hidden_states", {"metric": "l1"}),
        ("pooled", {"metric": "l1"}),
        ("patient", {"token": "middle"}),
        ("relations", {"parts": ["output"]}),
        ("relations", {"parts": []}),
        ("relations", {"heads": 0}),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_those_that_are(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="one of|at least"):
        built(name, **options)
