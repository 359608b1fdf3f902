"""What a recipe asks and its teacher, or the rest of it, cannot give: refused before any compute, with what would work."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from stillhouse.errors import RecipeError
from stillhouse.method import BlackBox, Cache, Feature, Method, Preference, Rollouts, WhiteBox
from stillhouse.recipe import Initialisation, Member, Recipe, Stage, Student, Teacher, Training
from stillhouse.training.needs import check_needs

TWO = Teacher(members=(Member(model="a"), Member(model="b")))
MIXED = Rollouts(mix=0.2, estimator="policy-gradient")


def check(method: Method, *stages: dict[str, Any], local: bool = True, teacher: Teacher | None = None) -> None:
    parts = tuple(Stage(share=1 / len(stages), method=changes) for changes in stages)
    recipe = Recipe(student=Student(kind="causal"), method=method, stages=parts, teacher=teacher or Teacher())
    check_needs(recipe, local=local)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (WhiteBox(loss="none", weight=1.0), "nothing is minimised"),
        (WhiteBox(source="api", loss="top_k", temperature=2.0), "at temperature 1"),
        (WhiteBox(source="api", loss="top_k", temperature_end=2.0), "at temperature 1"),
        (WhiteBox(source="cache", rollouts=Rollouts()), "knows old ones only"),
        (WhiteBox(loss="none", weight=0.5, rollouts=Rollouts()), "teaches nothing there"),
        (WhiteBox(loss="cross_entropy", rollouts=Rollouts()), "teaches nothing there"),
        (WhiteBox(source="cache", features=(Feature(loss="pooled"),)), r"cache.states = true"),
    ],
)
def test_methods_that_cannot_be_what_they_say(method: Method, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check(method)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (WhiteBox(), r'method\] kind = "black-box"'),
        (Preference(loss="contrastive"), r'loss = "dpo"'),
        (WhiteBox(source="ema", loss="reverse_kl", rollouts=MIXED), "mix = 0.2 draws from the teacher too"),
    ],
)
def test_a_teacher_that_is_not_here(method: Method, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check(method, local=False)


@pytest.mark.parametrize("method", [Preference(loss="contrastive"), WhiteBox(loss="reverse_kl", rollouts=MIXED)])
def test_a_second_teacher_is_not_left_out_silently(method: Method) -> None:
    with pytest.raises(RecipeError, match="takes one teacher, and .* names 2. Keep one"):
        check(method, teacher=TWO)


@pytest.mark.parametrize(
    ("method", "changes", "name"),
    [
        (WhiteBox(), {"rollouts": {"share": 0.5}}, "rollouts"),
        (BlackBox(), {"rationale": False}, "rationale"),
        (Preference(loss="contrastive"), {"loss": "dpo"}, "loss"),
    ],
)
def test_a_stage_does_not_change_what_the_examples_are_made_of(method: Method, changes: dict[str, Any], name: str) -> None:
    with pytest.raises(RecipeError, match=rf"\[\[stages\]\] number 2 changes {name}"):
        check(method, {}, changes)


@pytest.mark.parametrize(
    "method",
    [
        WhiteBox(loss="none", weight=1.0, features=(Feature(loss="pooled"),)),
        WhiteBox(loss="none", weight=0.0),
        WhiteBox(source="api", loss="top_k"),
        WhiteBox(loss="reverse_kl", rollouts=MIXED),
    ],
)
def test_what_can_be_done_passes(method: Method) -> None:
    check(method)
    check(method, {}, {"temperature": 1.0})


SEVERAL = {"teacher": TWO}
REGRESSION = Student(kind="encoder", config={"objective": "regression"})


@pytest.mark.parametrize(
    ("method", "parts", "message"),
    [
        (WhiteBox(loss="jensen_shannon", options={"betaa": 0.5}), {}, "does not fit the loss 'jensen_shannon'"),
        (WhiteBox(features=(Feature(loss="pooled", options={"nosuch": 1}),)), {}, "does not take options"),
        (WhiteBox(loss="sampled", source="cache", temperature=2.0, cache=Cache(tier="sampled")), {}, "Set temperature = 1"),
        (WhiteBox(align="bytes"), {}, r'loss = "ranked"'),
        (WhiteBox(align="bytes", loss="ranked"), {"student": Student(kind="encoder")}, "both decoders"),
        (WhiteBox(source="mutual"), SEVERAL, "between two networks"),
        (WhiteBox(features=(Feature(loss="pooled"),)), SEVERAL, "one teacher's"),
        (WhiteBox(loss="top_k", source="cache", cache=Cache(tier="top_k")), SEVERAL, "keeps only some scores"),
        (
            WhiteBox(),
            {"teacher": TWO.model_copy(update={"combine": "confidence"}), "student": REGRESSION},
            "a number has no probability",
        ),
        (WhiteBox(rollouts=Rollouts()), {"student": Student(kind="seq2seq")}, "is for decoders"),
        (WhiteBox(source="mutual"), {"student": Student(kind="causal", base="b")}, "begin with the same weights"),
        (Preference(), {"student": Student(kind="encoder")}, "student that writes"),
        (BlackBox(), {"student": Student(kind="seq2seq"), "training": Training(pack=True)}, "pack is for decoders"),
        (BlackBox(), {"student": Student(kind="encoder", config={"max_length": 1})}, "max_length"),
        (BlackBox(), {"student": Student(kind="static", config={"labels": ["a", "b", "a"]})}, "'a' more than once"),
        (BlackBox(), {"student": Student(kind="causal", base="b", init=Initialisation())}, "leave .* base and tokenizer out"),
        (WhiteBox(), {"teacher": Teacher(members=(Member(model="a", tasks=("x",)),))}, 'set .teacher. combine = "task"'),
    ],
)
def test_what_the_words_of_a_recipe_cannot_mean_together(method: Method, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        check_needs(Recipe.model_validate({"student": Student(kind="causal"), "method": method, **parts}), local=True)


@pytest.mark.parametrize(("loss", "options"), [("top_k", {"k": 2.5}), ("ranked", {"k": True}), ("sampled", {"samples": 0})])
def test_options_that_count_are_whole_numbers(loss: str, options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="must be a whole number"):
        check(WhiteBox(loss=loss, options=options))


@pytest.mark.parametrize(
    "changes", [{"temperature": math.inf}, {"peer_learning_rate": math.inf}, {"rollouts": {"temperature": math.inf}}]
)
def test_a_method_has_no_infinite_numbers(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="finite"):
        WhiteBox.model_validate(changes)
