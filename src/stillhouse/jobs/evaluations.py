"""Evaluations by name: the dataset, the models and the graders are looked up, the verb is called, the report is kept.

What an evaluation is stands in `stillhouse.evaluation`. One that was killed goes on from its journal when it is started again;
one that ended leaves no journal, so that the next asks afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from stillhouse.apply import Journal, Outcome, Remembering
from stillhouse.artifact import Artifact
from stillhouse.artifacts import load_manifest
from stillhouse.chat import ChatModel, Message
from stillhouse.dataset import Dataset, Example, Split
from stillhouse.errors import NotFoundError
from stillhouse.evaluation import Candidate, Change, Memory, Plan, compare, evaluate, keep_report, rows_of
from stillhouse.evaluation.evaluating import Progress
from stillhouse.files import Files
from stillhouse.formats.examples import read_examples
from stillhouse.grade import Answered, Report
from stillhouse.grading import voting_rule
from stillhouse.jobs.contamination import Contamination, contamination_of, messages_of
from stillhouse.jobs.eval_answers import answered_rows
from stillhouse.jobs.eval_comparing import report_of
from stillhouse.jobs.evals import find_run
from stillhouse.prices import load_prices
from stillhouse.records import canonical_json, fingerprint
from stillhouse.self_consistency import SelfConsistent
from stillhouse.shipped import BUILTIN
from stillhouse.workspace import Workspace


@dataclass(frozen=True)
class Graders:
    """Who grades, by name, as `Workspace.grader` knows them."""

    names: tuple[str, ...]
    judge: str | None = None
    """Model id of the judge of those that need one."""


async def evaluate_models(
    workspace: Workspace,
    dataset: Dataset,
    models: Mapping[str, str],
    plan: Plan,
    graders: Graders,
    *,
    split: Split = "test",
    limit: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Evaluate `models` (role -> name) on a split of `dataset`, or on `limit` examples of it, and keep the report with its rows.

    Raises NotFoundError, UsageError, PermissionRefusedError, ConflictError when another process is at the same evaluation.
    """
    plan = plan.model_copy(update={"dataset": dataset.fingerprint, "split": split})
    examples = sample(read_examples(workspace.dataset_folder(dataset.fingerprint), split), limit)
    prices = load_prices(workspace.settings.prices)
    resolved = {name: _target(workspace, name) for name in models.values()}
    async with AsyncExitStack() as stack:
        candidates = []
        for role, name in models.items():
            candidate = _candidate(workspace, role, name, resolved[name])
            stack.push_async_callback(candidate.model.close)
            candidates.append(_voting(candidate, graders.names) if plan.samples > 1 else candidate)
        journal = stack.enter_context(Journal(_journal_path(workspace, plan, resolved), Outcome))
        said = journal.items()
        judge = _Judges(stack, workspace, said, journal.add)
        built = [workspace.grader(name, graders.judge, judge) for name in graders.names]
        memory = Memory(seen={outcome.key: outcome for outcome in said}, keep=journal.add)
        report, rows = await evaluate(plan, candidates, examples, built, prices=prices, memory=memory, progress=progress)
        report = report.model_copy(update={"settings": {**report.settings, "resolved": resolved, "limit": limit}})
        report = keep_report(report, rows, store=workspace.store, put=files(workspace).put)
        journal.drop()
    return report


def sample(examples: Sequence[Example], limit: int | None) -> list[Example]:
    """`limit` of the examples, in their order, chosen by id: ids are hashes, so it is a random sample, and always the same."""
    if limit is None or limit >= len(examples):
        return list(examples)
    chosen = {example.id for example in sorted(examples, key=lambda example: example.id)[:limit]}
    return [example for example in examples if example.id in chosen][:limit]


def find_report(workspace: Workspace, name: str) -> Report:
    """A report by its id, the newest of a name, or that of an eval's run. Raises NotFoundError."""
    if name.startswith("evalrun-"):
        return report_of(workspace.store, find_run(workspace.store, name))
    report = workspace.store.report(name)
    if report is None:
        report = max(workspace.store.reports(name), key=lambda each: each.id, default=None)
    if report is None:
        raise NotFoundError(f"There is no report '{name}'. See what there is with: stillhouse eval list")
    return report


def report_rows(workspace: Workspace, report: Report) -> list[Answered]:
    """Everything that was answered. Raises NotFoundError when the rows were not kept, or went with their run."""
    run = report.settings.get("run")
    if isinstance(run, str):
        return list(answered_rows(workspace.store, workspace.settings, find_run(workspace.store, run)))
    return rows_of(report, files(workspace).get)


def compare_reports(workspace: Workspace, before: str, after: str, margin: float | None) -> list[Change]:
    """What changed from one report, or run, to another; with a verdict where a margin is given. Raises NotFoundError."""
    first, second = find_report(workspace, before), find_report(workspace, after)
    return compare(first, second, *(_rows_if_kept(workspace, report) for report in (first, second)), margin=margin)


def report_questions(workspace: Workspace, report: Report) -> list[list[Message]]:
    """What was asked, chat by chat. Raises NotFoundError when neither the dataset nor the rows are there."""
    if "run" not in report.settings:
        return [example.messages for example in report_examples(workspace, report)]
    return [(row.sample or {}).get("input") or messages_of(row.item or {}) for row in report_rows(workspace, report)]


def contamination(workspace: Workspace, name: str) -> list[Contamination]:
    """For each model of a report, or run: does it know the questions already? Raises NotFoundError."""
    report = find_report(workspace, name)
    questions = report_questions(workspace, report)
    return [contamination_of(workspace, result.model, questions) for result in report.results]


def report_examples(workspace: Workspace, report: Report) -> list[Example]:
    """The evaluated split, whole. Raises NotFoundError when the dataset is gone."""
    return read_examples(workspace.dataset_folder(report.dataset), _split(report.split))


def files(workspace: Workspace) -> Files:
    """Where rows are kept."""
    return Files(workspace.settings.files)


class _Judges:
    """Judges by name, closed at the end of the evaluation. What one said before the evaluation was killed it says again."""

    def __init__(
        self, stack: AsyncExitStack, workspace: Workspace, said: Sequence[Outcome], keep: Callable[[Outcome], None]
    ) -> None:
        self._stack = stack
        self._workspace = workspace
        self._said = said
        self._keep = keep
        self._known: dict[str, ChatModel] = {}

    def __call__(self, name: str) -> ChatModel:
        if name not in self._known:
            model = self._workspace.chat_model(name)
            self._stack.push_async_callback(model.close)
            self._known[name] = Remembering(model, self._said, self._keep)
        return self._known[name]


def _rows_if_kept(workspace: Workspace, report: Report) -> list[Answered]:
    try:
        return report_rows(workspace, report)
    except NotFoundError:
        return []


def _candidate(workspace: Workspace, role: str, name: str, target: str) -> Candidate:
    artifact = _artifact(workspace, target)
    return Candidate(
        role=role,
        name=name,
        model=workspace.chat_model(name),
        parameters=artifact.parameters if artifact else None,
        size_bytes=artifact.size_bytes if artifact else None,
        local=artifact is not None or target.startswith(BUILTIN),
        told_task=artifact is not None and _heads(artifact) == "task",
    )


def _heads(artifact: Artifact) -> object:
    """As its recipe has them."""
    return artifact.recipe.get("student", {}).get("config", {}).get("heads")


def _voting(candidate: Candidate, graders: Sequence[str]) -> Candidate:
    """The same model, whose answer is what most of its samples come to."""
    return replace(candidate, model=SelfConsistent(candidate.model, *voting_rule(graders)))


def _target(workspace: Workspace, name: str) -> str:
    """What an alias stands for now."""
    return next((route.model for route in workspace.store.routes() if route.alias == name), name)


def _artifact(workspace: Workspace, name: str) -> Artifact | None:
    """The manifest of a model that lies here; None for one behind an API."""
    if not name.startswith(BUILTIN) and not Path(name).is_dir():
        return workspace.store.artifact(name)
    try:
        return load_manifest(workspace.model_folder(name))
    except NotFoundError:
        return None


def _journal_path(workspace: Workspace, plan: Plan, resolved: Mapping[str, str]) -> Path:
    """One file for what is asked of whom: another plan, or an alias that points elsewhere now, starts afresh."""
    digest = fingerprint(plan.json_bytes(), canonical_json(dict(resolved))).removeprefix("sha256:")
    return workspace.settings.data_dir / "evals" / f"{digest[:32]}.jsonl"


def _split(name: str) -> Split:
    splits: dict[str, Split] = {"train": "train", "valid": "valid", "test": "test"}
    return splits[name]
