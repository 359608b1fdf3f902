"""Datasets with texts that were made: labelled by the teacher, never of the test split, under the strictest terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.artifact import Artifact
from stillhouse.artifacts import register
from stillhouse.curation import Version, save
from stillhouse.curation.build import in_order
from stillhouse.dataset import Dataset
from stillhouse.errors import RecipeError
from stillhouse.formats.examples import read_examples
from stillhouse.jobs.augmenting import check_options, with_augmentation
from stillhouse.method import WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.settings import Settings
from stillhouse.students.base import last_user_text
from stillhouse.students.encoder import EncoderStudent
from stillhouse.workspace import Workspace
from tests.students.tiny_encoders import COMPACT, spec, write_wordpieces
from tests.two_labels import examples


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    version = Version(name="things", examples=in_order(examples()), removed=Counter())
    return save(version, workspace.dataset_folder, workspace.store)


def put_teacher(workspace: Workspace, tmp_path: Path, name: str = "teacher", **config: Any) -> Artifact:
    """An encoder that was never taught: what it says is nonsense, and always the same."""
    tokenizer = write_wordpieces(tmp_path / "tokenizer")
    labels: dict[str, Any] = {} if config.get("objective") == "regression" else {"labels": ["animal", "fruit"]}
    student = EncoderStudent.build(spec(tokenizer, **COMPACT, **labels, **config))
    student.save(tmp_path / name)
    artifact = register(
        tmp_path / name,
        workspace.settings.artifacts,
        identifier=name,
        kind="encoder",
        parameters=student.parameters,
        may_train={"lab": "no: 2c"},
    )
    workspace.store.put_artifact(artifact).result()
    return artifact


def recipe(teacher: str | None = "teacher", **augment: object) -> Recipe:
    return Recipe.model_validate(
        {
            "student": {"kind": "encoder"},
            "teacher": {"model": teacher},
            "data": {"augment": {"factor": 3, **augment}},
            "training": {"steps": 1},
        }
    )


def test_texts_are_made_of_the_train_split_and_labelled_by_the_teacher(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    teacher = EncoderStudent.load(tmp_path / "teacher") if put_teacher(workspace, tmp_path) else None
    said: list[str] = []
    found = with_augmentation(workspace, recipe(), dataset, said.append)
    assert (found.name, found.parents) == ("things-augmented", (dataset.fingerprint,))
    assert found.counts["test"] == dataset.counts["test"]
    assert dataset.counts["train"] * 2 < found.counts["train"] <= dataset.counts["train"] * 4
    rows = read_examples(workspace.dataset_folder(found.fingerprint), "train")
    made = [row for row in rows if "augmented" in row.metadata]
    assert len(made) == found.counts["train"] - dataset.counts["train"] == found.teachers["teacher"]
    assert teacher is not None and [row.answer for row in made] == teacher.answer([row.messages for row in made])
    there = {last_user_text(example.messages) for example in examples()}
    assert not there & {last_user_text(row.messages) for row in made}
    assert f"{len(made)} texts were made" in said[0]


def test_what_a_teacher_labels_stands_under_the_terms_of_what_it_learned_from(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    put_teacher(workspace, tmp_path)
    assert with_augmentation(workspace, recipe(), dataset, print).may_train == {"lab": "no: 2c"}


def test_the_same_texts_are_made_once(workspace: Workspace, dataset: Dataset, tmp_path: Path) -> None:
    put_teacher(workspace, tmp_path)
    first = with_augmentation(workspace, recipe(), dataset, print)
    said: list[str] = []
    assert with_augmentation(workspace, recipe(), dataset, said.append) == first
    assert said[0].startswith("The texts that were made before are taken")
    assert with_augmentation(workspace, recipe(seed=1), dataset, print).fingerprint != first.fingerprint


def test_a_recipe_without_augmentation_keeps_its_dataset(workspace: Workspace, dataset: Dataset) -> None:
    plain = Recipe.model_validate({"student": {"kind": "linear"}})
    assert with_augmentation(workspace, plain, dataset, print) is dataset


def test_texts_need_a_local_classifier(workspace: Workspace, dataset: Dataset) -> None:
    with pytest.raises(RecipeError, match="a teacher must label"):
        with_augmentation(workspace, recipe(None), dataset, print)
    with pytest.raises(RecipeError, match="is of kind 'causal'"):
        with_augmentation(workspace, recipe("builtin:teacher"), dataset, print)


@pytest.mark.parametrize("objective", ["pair", "tokens"])
def test_pairs_and_words_are_not_made_up(workspace: Workspace, dataset: Dataset, tmp_path: Path, objective: str) -> None:
    put_teacher(workspace, tmp_path, objective=objective)
    with pytest.raises(RecipeError, match=f'"{objective}"'):
        with_augmentation(workspace, recipe(), dataset, print)


def test_options_that_nobody_knows_are_named_before_any_work() -> None:
    check_options(Recipe.model_validate({"student": {"kind": "linear"}}))
    check_options(recipe(options={"joined": 0.5}))
    with pytest.raises(RecipeError, match=r"rotated.*They are: whole, part"):
        check_options(recipe(options={"rotated": 1.0}))
    with pytest.raises(RecipeError, match="dropped"):
        check_options(recipe(options={"dropped": 2.0}))


def test_labels_of_the_texts_they_come_from_are_for_methods_that_do_not_read_them(
    workspace: Workspace, dataset: Dataset, tmp_path: Path
) -> None:
    put_teacher(workspace, tmp_path)
    with pytest.raises(RecipeError, match="need not be true"):
        check_options(recipe(labels="parent"))
    scores_alone = recipe(labels="parent").model_copy(update={"method": WhiteBox(weight=1.0)})
    check_options(scores_alone)
    found = with_augmentation(workspace, scores_alone, dataset, print)
    rows = read_examples(workspace.dataset_folder(found.fingerprint), "train")
    teacher = EncoderStudent.load(tmp_path / "teacher")
    for row in rows:
        if row.metadata.get("augmented") == "words":
            assert [row.answer] == teacher.answer([row.messages])
        elif "augmented" in row.metadata:
            assert row.answer == row.reference
    assert len({row.answer for row in rows if "augmented" in row.metadata}) == 2
