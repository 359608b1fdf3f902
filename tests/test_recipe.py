"""Recipes: read whole or refused with the field's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.errors import RecipeError
from stillhouse.method import BlackBox, WhiteBox
from stillhouse.recipe import Recipe, Training, changed, load_recipe


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_recipe_gets_the_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, '[student]\nkind = "linear"\n'))
    assert recipe.student.kind == "linear"
    assert isinstance(recipe.method, BlackBox)
    assert recipe.training.batch_size == 32


def test_a_method_is_told_by_its_kind(tmp_path: Path) -> None:
    text = '[student]\nkind = "causal"\n[method]\nkind = "white-box"\ntemperature = 2.0\nweight = 0.9\n'
    method = load_recipe(write(tmp_path, text)).method
    assert isinstance(method, WhiteBox)
    assert (method.temperature, method.weight, method.loss) == (2.0, 0.9, "forward_kl")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "student"),
        ('[student]\nkind = "linear"\ncolour = 1\n', "student.colour"),
        ('[student]\nkind = "linear"\n[training]\nbatch_size = 0\n', "training.batch_size"),
        ('[student]\nkind = "causal"\n[method]\nkind = "grey-box"\n', "method"),
        ('version = 2\n[student]\nkind = "linear"\n', "version"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        load_recipe(write(tmp_path, text))


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at"):
        load_recipe(tmp_path / "absent.toml")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(write(tmp_path, "= 1"))


def test_a_recipe_survives_json() -> None:
    recipe = Recipe.model_validate({"student": {"kind": "causal"}, "method": {"kind": "white-box"}})
    assert Recipe.model_validate_json(recipe.json_bytes()) == recipe


def test_changes_replace_fields_and_keep_their_types(tmp_path: Path) -> None:
    path = write(tmp_path, '[student]\nkind = "linear"\n[training]\nseed = 1\n')
    recipe = load_recipe(path, ["training.steps=50", "name=a-b", 'evaluation.graders=["exact"]', "student.kind=causal"])
    assert (recipe.training.steps, recipe.training.seed, recipe.name) == (50, 1, "a-b")
    assert (recipe.evaluation.graders, recipe.student.kind) == (("exact",), "causal")


def test_a_run_has_one_length_and_a_change_says_it_anew(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('[student]\nkind = "encoder"\n[training]\nepochs = 4\n', encoding="utf-8")
    for change, steps, epochs in (("training.steps=5", 5, None), ("training.epochs=2", None, 2), ("training.seed=1", None, 4)):
        training = load_recipe(path, [change]).training
        assert (training.steps, training.epochs) == (steps, epochs)


@pytest.mark.parametrize("change", ["training.steps", "=3", "training..steps=3", "name.first=x"])
def test_a_change_that_changes_nothing_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe(write(tmp_path, 'name = "a"\n[student]\nkind = "linear"\n'), [change])


def test_a_recipe_at_hand_is_changed_as_a_file_is() -> None:
    recipe = Recipe.model_validate({"student": {"kind": "causal"}, "training": {"steps": 5}})
    assert changed(recipe, ["training.epochs=2", "method.kind=black-box"]).training == Training(epochs=2)
    with pytest.raises(RecipeError, match="nonsense"):
        changed(recipe, ["nonsense.key=1"])


@pytest.mark.parametrize(
    "change", ["training.threads=0", "training.learning_rate=inf", "evaluation.limit=-1", "evaluation.limit=0"]
)
def test_numbers_that_mean_nothing_are_refused(change: str) -> None:
    with pytest.raises(RecipeError, match=change.split("=")[0]):
        changed(Recipe.model_validate({"student": {"kind": "causal"}}), [change])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("method.temprature=2", "there is no such field"),
        ("method.kind=whitebox", "kind is one of 'black-box', 'white-box', 'preference'"),
        ('stages=[{share = 1, method = {kind = "black-box"}}]', "weight = 0"),
    ],
)
def test_what_is_wrong_is_said_in_words_of_recipes(change: str, words: str) -> None:
    recipe = Recipe.model_validate({"student": {"kind": "causal"}, "method": {"kind": "white-box"}})
    with pytest.raises(RecipeError, match=words):
        changed(recipe, [change])


def test_a_method_without_its_kind_is_asked_for_it() -> None:
    with pytest.raises(RecipeError, match="say first which it is, by kind"):
        changed(Recipe.model_validate({"student": {"kind": "causal"}}), ["method.loss=forward_kl"])
