"""The loop's own part: which data a recipe speaks of, and who is asked at its end. Whole loops run in tests/cli and the demo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from stillhouse import __version__
from stillhouse.artifact import Artifact
from stillhouse.completion import Completion
from stillhouse.dataset import Dataset, Example
from stillhouse.errors import NotFoundError, RecipeError, TrainingError, UsageError
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.ids import new_id
from stillhouse.jobs import queue
from stillhouse.jobs.planning import plan_training, untaught_labels, with_entered
from stillhouse.loop import Steps, _finished, _train, check_evaluation, make_dataset, prepare
from stillhouse.recipe import DataSource, Recipe, load_recipe
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace
from tests.two_labels import write_base


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


async def test_the_same_files_are_one_dataset_whatever_recipes_call_it(workspace: Workspace, tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("text,category\n" + "".join(f"{name} {n},label\n" for n in range(5)))
    source = DataSource(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"), name="first")
    first = await make_dataset(workspace, source)
    assert await make_dataset(workspace, source.model_copy(update={"name": "second"})) == first


class Workers:
    """Stands for processes: every run ends at once, as `ends` says, and one that succeeds leaves a model."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.started: list[Run] = []
        self.said: list[str] = []
        self.ends = "succeeded"
        monkeypatch.setattr(queue, "begin", lambda store, settings, run: self.started.append(run))

    @property
    def steps(self) -> Steps:
        return Steps(wait=self.wait, say=self.said.append)

    def wait(self, run_id: str) -> Run:
        store = self.workspace.store
        run = store.run(run_id)
        assert run is not None
        model = run_id.replace("run-", "student-")
        done: dict[str, object] = {"state": self.ends, "finished": 1, "step": 3}
        if self.ends == "succeeded":
            done["result"] = {"artifact": model}
            artifact = Artifact(
                id=model,
                kind="linear",
                created=len(self.started),
                parameters=1,
                size_bytes=1,
                hashes={},
                recipe=run.spec["recipe"],
                dataset=run.spec["dataset"],
                code_version=__version__,
            )
            store.put_artifact(artifact).result()
        store.update_run(run_id, run.epoch, done).result()
        ended = store.run(run_id)
        assert ended is not None
        return ended


@pytest.fixture
def workers(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workers:
    pytest.importorskip("sklearn", reason="needs the extra [classic]")
    return Workers(workspace, monkeypatch)


@pytest.fixture
def data(workspace: Workspace) -> Dataset:
    examples = [Example(id=f"e{n}", messages=[{"role": "user", "content": f"{n}?"}], answer="ab"[n % 2]) for n in range(4)]
    dataset = write_dataset_folder(workspace.settings.datasets / "draft", examples, name="small")
    (workspace.settings.datasets / "draft").rename(workspace.dataset_folder(dataset.fingerprint))
    workspace.store.put_dataset(dataset).result()
    return dataset


def two_recipes(folder: Path, student: str = 'kind = "linear"') -> Path:
    """A student's, and its teacher's beside it."""
    (folder / "teacher.toml").write_text('name = "teacher"\n[student]\nkind = "linear"\n')
    path = folder / "student.toml"
    path.write_text(f'name = "student"\n[teacher]\nrecipe = "teacher.toml"\n[student]\n{student}\n')
    return path


def three_recipes(folder: Path, assistant: str) -> Path:
    """A student's, its assistant's with these lines, and that one's teacher's."""
    path = two_recipes(folder)
    (folder / "teacher.toml").rename(folder / "first.toml")
    (folder / "teacher.toml").write_text(f'[teacher]\nrecipe = "first.toml"\n[student]\nkind = "linear"\n{assistant}\n')
    return path


def test_a_teacher_of_a_recipe_is_trained_once(workspace: Workspace, workers: Workers, data: Dataset, tmp_path: Path) -> None:
    path = two_recipes(tmp_path)
    recipe, taught = prepare(workspace, load_recipe(path), data, workers.steps)
    assert taught == data
    [run] = workers.started
    assert (run.name, recipe.teacher.model) == ("teacher", run.id.replace("run-", "student-"))
    again, _ = prepare(workspace, load_recipe(path, ["training.seed=1"]), data, workers.steps)
    assert (again.teacher.model, len(workers.started)) == (recipe.teacher.model, 1)
    (tmp_path / "teacher.toml").write_text('name = "teacher"\n[student]\nkind = "linear"\n[training]\nseed = 5\n')
    other, _ = prepare(workspace, load_recipe(path), data, workers.steps)
    assert (other.teacher.model != recipe.teacher.model, len(workers.started)) == (True, 2)


def test_an_assistant_learns_from_the_texts_that_its_own_recipe_asks_for(
    workspace: Workspace, workers: Workers, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [Example(id=f"m{n}", messages=[{"role": "user", "content": f"{n}!"}], answer="ab"[n % 2]) for n in range(8)]
    made = write_dataset_folder(workspace.settings.datasets / "draft", more, name="small-augmented")
    (workspace.settings.datasets / "draft").rename(workspace.dataset_folder(made.fingerprint))
    monkeypatch.setattr("stillhouse.loop.with_augmentation", lambda _, recipe, whole, __: made if recipe.data.augment else whole)
    path = three_recipes(tmp_path, "[data.augment]\nfactor = 2")
    recipe, taught = prepare(workspace, load_recipe(path), data, workers.steps)
    assert [run.spec["dataset"] for run in workers.started] == [data.fingerprint, made.fingerprint]
    assert (taught, recipe.teacher.model) == (data, workers.started[1].id.replace("run-", "student-"))
    prepare(workspace, load_recipe(path), data, workers.steps)
    assert len(workers.started) == 2, "both are there"


def test_what_is_wrong_with_an_assistant_is_said_before_its_teacher_is_trained(
    workspace: Workspace, workers: Workers, data: Dataset, tmp_path: Path
) -> None:
    path = three_recipes(tmp_path, "[data.augment.options]\nrotated = 1.0")
    with pytest.raises(RecipeError, match="rotated"):
        prepare(workspace, load_recipe(path), data, workers.steps)
    assert workers.started == []


def test_a_teacher_that_is_named_is_taken_before_its_recipe(
    workspace: Workspace, workers: Workers, data: Dataset, tmp_path: Path
) -> None:
    recipe, _ = prepare(workspace, load_recipe(two_recipes(tmp_path), ["teacher.model=mine"]), data, workers.steps)
    assert (recipe.teacher.model, workers.started) == ("mine", [])


@pytest.mark.parametrize(
    ("student", "named"),
    [
        ('kind = "nosuch"', "nosuch"),
        ('kind = "linear"\n[method]\nkind = "white-box"', "black-box"),
        ('kind = "encoder"', "steps"),
        ('kind = "encoder"\n[training]\nsteps = 1\n[method]\nkind = "white-box"\nloss = "nosuch"', "nosuch"),
        ('kind = "linear"\n[data.augment.options]\nrotated = 1.0', "rotated"),
    ],
)
def test_what_is_wrong_with_a_student_is_said_before_its_teacher_is_trained(
    workspace: Workspace, workers: Workers, data: Dataset, tmp_path: Path, student: str, named: str
) -> None:
    with pytest.raises((RecipeError, UsageError), match=named):
        prepare(workspace, load_recipe(two_recipes(tmp_path, student)), data, workers.steps)
    assert workers.started == []


@pytest.mark.parametrize("ended", ["interrupted", "stopped", "paused"])
def test_a_run_that_was_left_off_goes_on(workspace: Workspace, workers: Workers, data: Dataset, ended: str) -> None:
    recipe = Recipe.model_validate({"student": {"kind": "linear"}})
    workers.ends = ended
    with pytest.raises(TrainingError, match=ended):
        _train(workspace, plan_training(workspace, recipe, data), workers.steps)
    workers.ends = "succeeded"
    run = _train(workspace, plan_training(workspace, recipe, data), workers.steps)
    assert [each.id for each in workers.started] == [run.id, run.id]
    assert f"Run {run.id} goes on; it had come to step 3." in workers.said


def test_a_run_that_failed_or_says_something_else_is_left_alone(workspace: Workspace, workers: Workers, data: Dataset) -> None:
    recipe = Recipe.model_validate({"student": {"kind": "linear"}})
    workers.ends = "failed"
    with pytest.raises(TrainingError, match="failed"):
        _train(workspace, plan_training(workspace, recipe, data), workers.steps)
    workers.ends = "interrupted"
    with pytest.raises(TrainingError, match="interrupted"):
        _train(workspace, plan_training(workspace, recipe, data), workers.steps)
    workers.ends = "succeeded"
    other = recipe.model_copy(update={"name": "other"})
    _train(workspace, plan_training(workspace, other, data), workers.steps)
    assert len({run.id for run in workers.started}) == 3


async def test_a_dataset_is_tested_on_a_file_and_learns_from_what_it_held_back_itself(
    workspace: Workspace, tmp_path: Path
) -> None:
    for number in range(40):
        capture(workspace, "big", f"Is {number} odd?", "yes" if number % 2 else "no")
    known = await make_dataset(workspace, DataSource(completions={"model": "big"}, name="odd"))
    test = tmp_path / "test.csv"
    test.write_text("text,category\nIs 3 odd?,yes\nIs 333 odd?,yes\n")
    made = await make_dataset(workspace, DataSource(dataset="odd", test=str(test), name="odd-on-gold"))
    assert (made.counts["test"], made.counts["valid"]) == (2, known.counts["valid"])
    assert made.counts["train"] + made.counts["valid"] == 39, "the question that the file asks is not learnt from"
    assert (made.teachers, made.may_train, made.parents) == ({"big": 40}, {"lab": "no: 2c"}, (known.fingerprint,))


def test_recipes_that_are_each_others_teachers_are_refused(
    workspace: Workspace, workers: Workers, data: Dataset, tmp_path: Path
) -> None:
    student = '[student]\nkind = "encoder"\n[training]\nsteps = 1\n[method]\nkind = "white-box"\n[teacher]\nrecipe = '
    (tmp_path / "a.toml").write_text(f'{student}"b.toml"\n')
    (tmp_path / "b.toml").write_text(f'{student}"a.toml"\n')
    with pytest.raises(RecipeError, match=r"goes round: .*b.toml -> .*a.toml -> .*b.toml"):
        prepare(workspace, load_recipe(tmp_path / "a.toml"), data, workers.steps)
    assert workers.started == []


async def test_rows_that_are_put_aside_are_told_every_time(workspace: Workspace, tmp_path: Path) -> None:
    good = "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(20))
    source = DataSource(name="d", train=str(tmp_path / "train.csv"))
    (tmp_path / "train.csv").write_text(f"text,category\n{good}")
    made, said = await make_dataset(workspace, source), list[str]()
    (tmp_path / "train.csv").write_text(f"text,category\n{good},a\nno label,\n")
    assert await make_dataset(workspace, source, said.append) == made
    assert [line.split(":")[0] for line in said[:2]] == ["Put aside", "Put aside"] and "line 22" in said[0]


def test_a_teacher_in_a_plain_folder_is_entered_first(workspace: Workspace, tmp_path: Path) -> None:
    folder = str(write_base(tmp_path / "base"))
    member, model = ({"teacher": {"members": [{"model": folder}]}}, {"teacher": {"model": folder}})
    first, second = (
        with_entered(workspace, Recipe.model_validate({"student": {"kind": "encoder"}, **each})).teacher
        for each in (member, model)
    )
    assert first.members[0].model == second.model == workspace.artifact(str(second.model)).id


async def test_it_runs_where_a_loop_runs_already(workspace: Workspace, tmp_path: Path) -> None:
    async def three() -> int:
        return 3

    assert _finished(three()) == 3


async def test_labels_that_are_only_tested_are_told(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,category\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(8)))
    (tmp_path / "test.csv").write_text("text,category\none,a\ntwo,zzz\nthree,zzz\n")
    dataset = await make_dataset(workspace, DataSource(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv")))
    recipe = Recipe.model_validate({"student": {"kind": "linear"}})
    assert untaught_labels(workspace, recipe, dataset).startswith("2 of 3 test rows")
    numbers = Recipe.model_validate({"student": {"kind": "encoder", "config": {"objective": "regression"}}})
    assert untaught_labels(workspace, numbers, dataset) == ""
