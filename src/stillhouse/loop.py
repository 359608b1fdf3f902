"""The whole loop of one recipe: data -> dataset -> student -> report. Each station is a verb of its own; here is their order.

What runs for long runs where it always does (training in a detached process); how it is waited for is handed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from stillhouse import __version__
from stillhouse.artifact import Artifact
from stillhouse.artifacts import MANIFEST
from stillhouse.completion import CompletionQuery
from stillhouse.curation import Collected, Options, build, keep_right, save
from stillhouse.curation.collect import joined
from stillhouse.dataset import SPLITS, Dataset, Split, strictest
from stillhouse.errors import RecipeError, TrainingError
from stillhouse.evaluation import Plan
from stillhouse.evaluation.evaluating import Progress
from stillhouse.formats.examples import read_examples
from stillhouse.grade import Report
from stillhouse.jobs import queue
from stillhouse.jobs.augmenting import check_options, with_augmentation
from stillhouse.jobs.comparing import Comparison, compare_with_teacher
from stillhouse.jobs.evaluations import Graders, evaluate_models
from stillhouse.jobs.planning import check_recipe, plan_training, untaught_labels, with_entered
from stillhouse.jobs.watch import settle_all
from stillhouse.recipe import DataSource, Recipe, load_recipe
from stillhouse.records import Record
from stillhouse.run import FINAL_STATES, WORKING_STATES, Run
from stillhouse.sources import read_files, read_stored
from stillhouse.workspace import Workspace

T = TypeVar("T")

CONCURRENCY = 8
"""Questions under way at once while evaluating; latencies are measured under this load."""


class Distilled(Record):
    """What came out of a loop."""

    dataset: Dataset
    run: Run
    model: Artifact
    report: Report
    comparison: Comparison | None = None
    """Student against teacher, where both lie on this machine."""


@dataclass(frozen=True)
class Steps:
    """How the caller takes part: `say` hears what happens, `wait` returns a run when it has ended."""

    wait: Callable[[str], Run]
    say: Callable[[str], None]
    allow: Sequence[str] = ()
    """Upstreams whose terms are overridden by name."""
    progress: Progress | None = None
    """Hears how far the evaluation is."""


def distill(workspace: Workspace, recipe: Recipe, steps: Steps) -> Distilled:
    """The loop. Blocks; the waiting is outside of any event loop, so that Ctrl-C ends it at once.

    Raises what its stations raise, and TrainingError when the run did not succeed.
    """
    workspace.share()
    recipe = with_entered(workspace, recipe)
    dataset = _finished(make_dataset(workspace, recipe.data, steps.say))
    steps.say(f"Dataset {dataset.name} {dataset.fingerprint[:19]}: {_counts(dataset)}")
    check_evaluation(workspace, recipe, dataset)
    if warning := untaught_labels(workspace, recipe, dataset):
        steps.say(warning)
    recipe, taught = prepare(workspace, recipe, dataset, steps)
    run = _train(workspace, plan_training(workspace, recipe, taught, allow=steps.allow), steps)
    artifact = workspace.artifact(str(run.result["artifact"]))
    steps.say("Evaluating it on the test split.")
    report = _finished(judge(workspace, recipe, dataset, artifact, steps.progress))
    comparison = compare_with_teacher(workspace, report, dataset)
    return Distilled(dataset=taught, run=run, model=artifact, report=report, comparison=comparison)


def _finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result. Where a loop runs already, as in a notebook, in a thread with a loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()


def prepare(
    workspace: Workspace, recipe: Recipe, dataset: Dataset, steps: Steps, above: tuple[str, ...] = ()
) -> tuple[Recipe, Dataset]:
    """What a recipe needs before its student: its teacher trained, its texts made. What is wrong with it is said before both.

    `above`: the recipes whose teacher it is, from the student's own down.
    """
    check_recipe(recipe)
    check_options(recipe)
    recipe = with_teacher(workspace, with_entered(workspace, recipe), dataset, steps, above)
    return recipe, with_augmentation(workspace, recipe, dataset, steps.say)


def with_teacher(workspace: Workspace, recipe: Recipe, dataset: Dataset, steps: Steps, above: tuple[str, ...] = ()) -> Recipe:
    """The recipe with a teacher that is there: one that a recipe of its own makes is trained on the same data first.

    One that was made of the same recipe and data before is taken as it is. Teachers' recipes may name teachers' recipes, and ask
    for texts of their own. Raises RecipeError where they come back to one of themselves.
    """
    named = recipe.teacher.recipe
    if named is None or recipe.teacher.model is not None:
        return recipe
    if named in above:
        raise RecipeError(f"[teacher] recipe goes round: {' -> '.join(above)} -> {named}. Some recipe must do without a teacher.")
    wanted, taught = prepare(workspace, load_recipe(Path(named)), dataset, steps, (*above, named))
    planned = plan_training(workspace, wanted, taught, allow=steps.allow)
    known = _made_before(workspace, planned.spec["recipe"], taught)
    if known is None:
        steps.say(f"Its teacher first: {wanted.name}.")
        known = str(_train(workspace, planned, steps).result["artifact"])
    steps.say(f"The teacher is {known}.")
    return recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"model": known})})


def _train(workspace: Workspace, planned: Run, steps: Steps) -> Run:
    """The run to its end: a new one, or one of the same recipe and data that was begun before and has not come to its end."""
    run = _begun_before(workspace, planned)
    if run is None:
        run = queue.submit(workspace.store, workspace.settings, planned)
        queue.begin(workspace.store, workspace.settings, run)
        steps.say(f"Run {run.id} has started.")
    elif run.state not in WORKING_STATES:
        queue.begin(workspace.store, workspace.settings, queue.resume(workspace.store, workspace.settings, run))
        steps.say(f"Run {run.id} goes on; it had come to step {run.step}.")
    else:
        steps.say(f"Run {run.id} is under way already.")
    ended = steps.wait(run.id)
    if ended.state != "succeeded":
        when = "Once that is mended, and the recipe is the same, go on" if ended.state == "failed" else "Go on"
        raise TrainingError(f"Run {run.id} is {ended.state}. {ended.error or ''} {when} with: stillhouse train resume {run.id}")
    return ended


def _begun_before(workspace: Workspace, planned: Run) -> Run | None:
    """The newest run that says the same and was left off."""
    runs = settle_all(workspace.store, workspace.settings.runs, "train")
    left_off = [run for run in runs if run.spec == planned.spec and run.state not in FINAL_STATES]
    return left_off[0] if left_off else None


def _made_before(workspace: Workspace, recipe: dict[str, Any], dataset: Dataset) -> str | None:
    """The newest model that came of this recipe and dataset, by the code that runs now."""
    same = [
        artifact
        for artifact in workspace.store.artifacts()
        if artifact.recipe == recipe and artifact.dataset == dataset.fingerprint and artifact.code_version == __version__
    ]
    return max(same, key=lambda artifact: artifact.created).id if same else None


def with_data(
    recipe: Recipe, *, train: str | None = None, valid: str | None = None, test: str | None = None, dataset: str | None = None
) -> Recipe:
    """The recipe with its data taken from these files or this dataset, where any is named."""
    changes = {"train": train, "valid": valid, "test": test, "dataset": dataset}
    if not any(changes.values()):
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={**changes, "completions": None})})


async def make_dataset(workspace: Workspace, source: DataSource, say: Callable[[str], None] = lambda _: None) -> Dataset:
    """The dataset a recipe speaks of: one that is there, or a version made of files or stored completions.

    `say` hears which rows of the files were put aside, and why.
    """
    given = [name for name in ("dataset", "completions", "train") if getattr(source, name) is not None]
    if len(given) != 1:
        raise RecipeError(
            f"[data] says {' and '.join(given) or 'nothing'}; it needs one of `dataset` (a name), `completions` (a filter) "
            "or `train` (a file; on the command line --train FILE)."
        )
    if source.dataset is not None:
        there = workspace.dataset(source.dataset)
        return there if source.valid is None and source.test is None else _with_files(workspace, source, there, say)
    if source.completions is None:
        collected = _read_files(source)
        _say_put_aside(collected, say)
    else:
        collected = read_stored(workspace, CompletionQuery.model_validate(source.completions))
    if source.only_right is not None:
        collected = await keep_right(collected, workspace.grader(source.only_right))
    # A test file of its own is somebody's benchmark: its rows stay (copies of one count once); train rows that ask the same go.
    files = collected.given_splits
    options = Options(
        shares=source.split, seed=source.seed, near_duplicates=None if files else 0.9, leaks="drop" if files else "fail"
    )
    version = build(source.name, collected, options, recipe={"data": source.model_dump(mode="json")})
    known = workspace.store.dataset(version.fingerprint)  # perhaps under another recipe's name for it
    return known or save(version, workspace.dataset_folder, workspace.store)


def check_evaluation(workspace: Workspace, recipe: Recipe, dataset: Dataset) -> None:
    """What would stop the evaluation stops the loop before it trains. Raises UsageError, NotFoundError, RecipeError."""
    for name in recipe.evaluation.graders:
        workspace.grader(name)
    if recipe.teacher.model is not None:
        workspace.target(recipe.teacher.model)
    if not dataset.counts.get("test"):
        raise RecipeError(
            f"The dataset {dataset.name} has no test example to evaluate on ({dataset.counts}). Give a --test file or a larger "
            "share ([data] split), or only train: stillhouse train run."
        )


async def judge(
    workspace: Workspace, recipe: Recipe, dataset: Dataset, artifact: Artifact, progress: Progress | None = None
) -> Report:
    """The student, its teacher if the recipe names one, and its base as it was, on the test split; the report is kept."""
    plan = Plan(
        name=recipe.name,
        dataset=dataset.fingerprint,
        slices=recipe.evaluation.slices,
        max_tokens=recipe.evaluation.max_tokens,
        concurrency=CONCURRENCY,
    )
    models = _roles(workspace, recipe, artifact)
    limit, graders = recipe.evaluation.limit, Graders(recipe.evaluation.graders)
    return await evaluate_models(workspace, dataset, models, plan, graders, limit=limit, progress=progress)


def _roles(workspace: Workspace, recipe: Recipe, artifact: Artifact) -> dict[str, str]:
    """Role -> model. A base that is a plain folder is entered first, so that it can be asked."""
    roles = {"student": artifact.id}
    if recipe.teacher.model is not None:
        roles["teacher"] = recipe.teacher.model
    base = recipe.student.base
    if base is not None and base != recipe.teacher.model and recipe.student.kind in ("causal", "seq2seq"):  # it can answer
        folder = workspace.model_folder(base)
        roles["base"] = base if (folder / MANIFEST).is_file() else workspace.add_model(folder).id
    return roles


def _with_files(workspace: Workspace, source: DataSource, known: Dataset, say: Callable[[str], None]) -> Dataset:
    """A dataset with its valid or test split taken from a file; what it had there itself is learnt from."""
    files: dict[Split, Path] = {"valid": Path(source.valid)} if source.valid is not None else {}
    if source.test is not None:
        files["test"] = Path(source.test)
    folder = workspace.dataset_folder(known.fingerprint)
    own = [
        example.model_copy(update={"split": "train"}) if split in files else example
        for split in SPLITS
        for example in read_examples(folder, split)
    ]
    read = read_files(dict(files))
    _say_put_aside(read, say)
    whole = joined([Collected(examples=own), read])
    whole.given_splits = True
    options = Options(near_duplicates=None, leaks="drop")
    version = build(source.name, whole, options, recipe={"data": source.model_dump(mode="json")})
    version.parents, version.teachers = (known.fingerprint,), known.teachers
    version.may_train = strictest(known.may_train, version.may_train)
    return workspace.store.dataset(version.fingerprint) or save(version, workspace.dataset_folder, workspace.store)


def _read_files(source: DataSource) -> Collected:
    """Rows of the named files, each file a split of its own; without a test file, the splits are drawn."""
    files: dict[Split, str | None] = {"train": source.train, "valid": source.valid, "test": source.test}
    whole = read_files({split: None if name is None else Path(name) for split, name in files.items()})
    whole.given_splits = source.test is not None
    return whole


def _say_put_aside(collected: Collected, say: Callable[[str], None], shown: int = 5) -> None:
    rows = collected.quarantined
    for file, row in rows[:shown]:
        say(f"Put aside: {file}, line {row.line}: {row.reason}.")
    if rows:
        more = f"... and {len(rows) - shown} more. " if len(rows) > shown else ""
        say(f"{more}Files of another encoding or format: stillhouse dataset import --help")


def _counts(dataset: Dataset) -> str:
    removed = ", ".join(f"{count} {reason}" for reason, count in dataset.removed.items())
    return ", ".join(f"{count} {split}" for split, count in dataset.counts.items()) + (
        f" (left out: {removed})" if removed else ""
    )
