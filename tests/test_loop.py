"""The loop's own part: which data a recipe speaks of, and who is asked at its end. Whole loops run in tests/cli and the demo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stillhouse.artifact import Artifact
from stillhouse.completion import Completion
from stillhouse.dataset import Dataset
from stillhouse.errors import NotFoundError, RecipeError, UsageError
from stillhouse.ids import new_id
from stillhouse.loop import check_evaluation, make_dataset
from stillhouse.recipe import DataSource, Recipe
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


def capture(
    workspace: Workspace, model: str, question: str, answer: str, reference: str = "", finish_reason: str = "stop"
) -> None:
    """What the gateway would have kept."""
    metadata = {"reference": reference} if reference else {}
    common = {
        "id": new_id("chatcmpl"),
        "created": 1,
        "instance": "i",
        "requested_model": model,
        "model": model,
        "upstream": "lab",
    }
    request = orjson.dumps({"model": model, "messages": [{"role": "user", "content": question}]})
    message = {"role": "assistant", "content": answer}
    response = orjson.dumps({"choices": [{"index": 0, "finish_reason": finish_reason, "message": message}]})
    started = Completion.model_validate({**common, "state": "started", "metadata": metadata})
    workspace.store.begin_completion(started, request).result()
    done = started.model_copy(update={"state": "complete", "finish_reason": finish_reason, "may_train": "no: 2c"})
    workspace.store.finish_completion(done, response).result()


async def test_a_dataset_of_stored_completions_keeps_teacher_and_terms(workspace: Workspace) -> None:
    for number in range(20):
        capture(workspace, "big", f"How much is {number} + {number}?", str(2 * number))
    capture(workspace, "other", "How much is 100 + 1?", "101")
    dataset = await make_dataset(workspace, DataSource(completions={"model": "big"}, name="sums"))
    assert (sum(dataset.counts.values()), dataset.teachers, dataset.may_train) == (20, {"big": 20}, {"lab": "no: 2c"})
    assert workspace.dataset("sums") == dataset


async def test_answers_that_ended_otherwise_are_taken_when_the_filter_asks_for_them(workspace: Workspace) -> None:
    for number in range(10):
        capture(workspace, "big", f"Count to {number}.", "1, 2", finish_reason="length" if number % 2 else "stop")
    dataset = await make_dataset(workspace, DataSource(completions={"finish_reason": "length"}, name="long"))
    assert (sum(dataset.counts.values()), dataset.teachers) == (5, {"big": 5})


async def test_a_student_of_ours_is_no_teacher_unless_it_is_named(workspace: Workspace) -> None:
    student = Artifact(id="student-1", kind="linear", created=1, parameters=1, size_bytes=1, hashes={}, run="run-1")
    workspace.store.put_artifact(student).result()
    for number in range(10):
        capture(workspace, "big", f"What is the square of {number}?", str(number**2))
        capture(workspace, "student-1", f"Is {number} an even number?", "perhaps")
    assert (await make_dataset(workspace, DataSource(completions={}, name="all"))).teachers == {"big": 10}
    named = await make_dataset(workspace, DataSource(completions={"model": "student-1"}, name="own"))
    assert named.teachers == {"student-1": 10}


async def test_only_right_answers_are_kept_when_asked_for(workspace: Workspace) -> None:
    for number in range(10):
        capture(workspace, "big", f"How much is {number} + 1?", str(number + 1 if number % 2 else 0), reference=str(number + 1))
    dataset = await make_dataset(workspace, DataSource(completions={}, name="right", only_right="exact"))
    assert sum(dataset.counts.values()) == 5


async def test_files_make_splits_and_the_test_file_wins_over_leaks(workspace: Workspace, tmp_path: Path) -> None:
    train = tmp_path / "train.csv"
    train.write_text("text,category\n" + "".join(f"question number {n},label\n" for n in range(10)) + "the leak,label\n")
    test = tmp_path / "test.csv"
    test.write_text("text,category\nThe  Leak,label\nanother one,label\n")
    dataset = await make_dataset(workspace, DataSource(train=str(train), test=str(test), name="files"))
    assert dataset.counts == {"train": 10, "valid": 0, "test": 2}


@pytest.mark.parametrize(
    "source",
    [DataSource(), DataSource(dataset="a", train="b.csv"), DataSource(dataset="a", completions={}), DataSource(test="t.csv")],
)
async def test_data_comes_from_one_place(workspace: Workspace, source: DataSource) -> None:
    with pytest.raises(RecipeError, match=r"\[data\]"):
        await make_dataset(workspace, source)


async def test_a_dataset_that_is_there_is_taken_as_it_is(workspace: Workspace) -> None:
    dataset = Dataset(name="small", fingerprint="sha256:00", created=1, counts={}, files={}, hashes={})
    workspace.store.put_dataset(dataset).result()
    assert await make_dataset(workspace, DataSource(dataset="small")) == dataset


def test_what_would_stop_the_evaluation_is_found_before_training(workspace: Workspace) -> None:
    dataset = Dataset(name="small", fingerprint="sha256:00", created=1, counts={"train": 5, "test": 0}, files={}, hashes={})
    recipe = Recipe.model_validate({"student": {"kind": "linear"}})
    with pytest.raises(RecipeError, match="no test example"):
        check_evaluation(workspace, recipe, dataset)
    unknown_grader = Recipe.model_validate({"student": {"kind": "linear"}, "evaluation": {"graders": ["nosuch"]}})
    with pytest.raises(UsageError, match="nosuch"):
        check_evaluation(workspace, unknown_grader, dataset)
    unknown_teacher = Recipe.model_validate({"student": {"kind": "linear"}, "teacher": {"model": "nosuch"}})
    with pytest.raises(NotFoundError, match="nosuch"):
        check_evaluation(workspace, unknown_teacher, dataset)
