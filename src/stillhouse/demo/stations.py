"""The loop of the demo, station by station, on the parts that every user has: gateway, store, curation, runs, evaluation, routes.

Nothing is special to the demo but the questions. The stations' order, and what is said about them, is `tour`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from stillhouse.artifact import Artifact
from stillhouse.completion import CompletionQuery
from stillhouse.curation import Collected, Options, build, collect, collect_rows, keep_right, save
from stillhouse.curation.collect import joined
from stillhouse.curation.splits import drawn_split
from stillhouse.dataset import Dataset
from stillhouse.demo.client import Client
from stillhouse.demo.size import Size
from stillhouse.errors import TrainingError, UsageError
from stillhouse.evaluation import Plan
from stillhouse.evaluation.evaluating import Progress
from stillhouse.formats.base import Row
from stillhouse.grade import Report
from stillhouse.jobs import queue
from stillhouse.jobs.evaluations import Graders, evaluate_models
from stillhouse.jobs.planning import plan_training
from stillhouse.method import BlackBox
from stillhouse.recipe import DataSource, Evaluation, Recipe, Student, Teacher, Training
from stillhouse.route import Route
from stillhouse.run import Run
from stillhouse.stores.base import every
from stillhouse.tasks import TASKS
from stillhouse.tasks.base import Question
from stillhouse.tasks.words import Pool
from stillhouse.upstream import Upstream
from stillhouse.workspace import Workspace

ALIAS = "puzzles"
"""What the client asks for, from the first question to the last."""
TEACHER, BASE = "builtin:teacher", "builtin:base"
UPSTREAM = "teacher"
DATASET = "demo"
INSTRUCTION = "Reason in one short line per name. End with: The answer is X."
"""For teachers that were not trained on these tasks."""
LONGEST = 480
"""Characters of prompt and answer together that surely fit into the student's positions: a token is at least a character."""


def questions(size: int, pool: Pool, seed: int = 0) -> list[Question]:
    """`size` questions of each task, the tasks in turn."""
    by_task = [TASKS.resolve(name)(size, seed, pool) for name in TASKS.names()]
    return [question for together in zip(*by_task, strict=True) for question in together]


def register_teacher(workspace: Workspace, model: str | None, base_url: str | None) -> str:
    """Put the teacher behind the gateway under the alias; returns its model id. With no `model`: the one that comes along."""
    if model is None:
        model = workspace.add_model(workspace.model_folder(TEACHER)).id
    else:
        assert base_url is not None
        upstream = Upstream(
            name=UPSTREAM, base_url=base_url, api_key_env="OPENAI_API_KEY", models=(model,), created=int(time.time())
        )
        workspace.store.put_upstream(upstream).result()
    point(workspace, model, "the teacher")
    return model


def point(workspace: Workspace, model: str, note: str) -> None:
    """From the next request on `model` answers for the alias."""
    workspace.store.put_route(Route(alias=ALIAS, model=model, created=int(time.time()), note=note)).result()


async def make_dataset(workspace: Workspace, client: Client, size: Size) -> Dataset:
    """The stored answers that are right, for training; questions of unseen names with their gold answers, for the test."""
    stored = collect(every(workspace.store, CompletionQuery(model=ALIAS)), workspace.store.payload)
    right = await keep_right(_readable(stored), workspace.grader("answer"))
    if not right.examples:
        raise UsageError(f"None of the teacher's {len(stored.examples)} answers was right, so there is nothing to learn from.")
    right.examples = [
        example.model_copy(update={"split": "valid" if drawn_split(example.group, (0.95, 0.05, 0), 0) == "valid" else "train"})
        for example in right.examples
    ]
    whole = joined([right, _unseen(client, size)])
    whole.given_splits = True
    version = build(DATASET, whole, Options(near_duplicates=None, leaks="drop"), recipe={"demo": size.model_dump(mode="json")})
    return save(version, workspace.dataset_folder, workspace.store)


def _readable(collected: Collected) -> Collected:
    """Without what is longer than the student reads."""
    short = [
        example
        for example in collected.examples
        if sum(len(str(message.get("content"))) for message in example.messages) + len(example.answer) <= LONGEST
    ]
    kept = collected.kept(short)
    kept.left_out("longer than the student reads", len(collected.examples) - len(short))
    return kept


def _unseen(client: Client, size: Size) -> Collected:
    rows = [
        Row(
            line=line,
            messages=client.messages(question),
            answer=question.answer,
            reference=question.answer,
            metadata={"task": question.task},
        )
        for line, question in enumerate(questions(size.unseen, "unseen"), 1)
    ]
    return collect_rows(rows, file="generated", split="test")


def recipe(size: Size, teacher: str, *, rationale: bool) -> Recipe:
    """How the student is trained; with `rationale=False` its control: the same base, steps and questions, answers alone."""
    return Recipe(
        name="demo-student" if rationale else "demo-control",
        data=DataSource(dataset=DATASET),
        teacher=Teacher(model=teacher),
        student=Student(kind="causal", base=BASE),
        method=BlackBox(rationale=rationale),
        training=Training(
            steps=size.steps,
            batch_size=size.batch_size,
            learning_rate=size.learning_rate,
            max_tokens=512,
            threads=1,  # two runs at once, on two cores: for networks this small that is faster than one after the other
            checkpoint_every=max(size.steps // 4, 1),
            evaluate_every=max(size.steps // 8, 1),
        ),
        evaluation=Evaluation(graders=("answer",), slices=("task",)),
    )


def start_training(workspace: Workspace, wanted: Recipe, dataset: Dataset) -> str:
    """Start a run, a process of its own; returns its id."""
    run = queue.submit(workspace.store, workspace.settings, plan_training(workspace, wanted, dataset))
    queue.begin(workspace.store, workspace.settings, run)
    return run.id


def trained(workspace: Workspace, run_id: str, watch: Callable[[str], Run]) -> Artifact:
    """What a run made, once it has ended. Raises TrainingError unless it succeeded."""
    run = watch(run_id)
    if run.state != "succeeded":
        raise TrainingError(f"Run {run.id} is {run.state}. {run.error or ''} What it printed: stillhouse train logs {run.id}")
    return workspace.artifact(str(run.result["artifact"]))


async def compare(workspace: Workspace, dataset: Dataset, models: dict[str, str], progress: Progress) -> Report:
    """Every model on the unseen questions, greedily; the report is kept."""
    plan = Plan(name=DATASET, dataset=dataset.fingerprint, slices=("task",), max_tokens=160, concurrency=16)
    return await evaluate_models(workspace, dataset, models, plan, Graders(("answer",)), progress=progress)


def one_more() -> Question:
    """A question that nobody was asked yet."""
    return questions(1, "unseen", seed=1)[-1]
