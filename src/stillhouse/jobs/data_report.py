"""A dataset's report, by name: what is in it, what it covers, and how much more of it would help."""

from __future__ import annotations

from collections.abc import Callable

from stillhouse.completion import CompletionQuery
from stillhouse.curation.covering import Coverage, coverage
from stillhouse.curation.describing import Description, describe
from stillhouse.curation.similarity import prompt_text
from stillhouse.dataset import SPLITS, Dataset, Example
from stillhouse.errors import MissingExtraError, PermissionRefusedError, RecipeError, TrainingError, UsageError
from stillhouse.evaluation.intervals import share
from stillhouse.evaluation.learning_curves import LearningCurve
from stillhouse.formats.examples import read_examples
from stillhouse.jobs.learning_curves import QUICK, measure_curve
from stillhouse.jobs.questions import find_questions
from stillhouse.recipe import Recipe
from stillhouse.records import Record
from stillhouse.sources import read_stored
from stillhouse.workspace import Workspace

TRAFFIC = "traffic"


class DataReport(Record):
    """Everything that a data report says."""

    name: str
    fingerprint: str
    description: Description
    coverage: Coverage
    curve: LearningCurve | None = None
    no_curve: str | None = None
    """Why none could be measured."""
    words: tuple[str, ...] = ()
    """What follows from the numbers, a sentence each."""


async def report_data(
    workspace: Workspace,
    name: str,
    *,
    recipe: Recipe | None = QUICK,
    seeds: int = 3,
    traffic: CompletionQuery | None = None,
    against: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> DataReport:
    """Describe a version, its coverage and its curve. `recipe`: of the curve's students; None for no curve.

    `traffic`: stored completions whose questions are looked for in train, too; `against`: those of a dataset or file. Raises
    NotFoundError, UsageError. Where the quick student cannot be trained the report says why; another recipe's error is raised.
    """
    dataset = workspace.dataset(name)
    folder = workspace.dataset_folder(dataset.fingerprint)
    examples = [example for split in SPLITS for example in read_examples(folder, split)]
    texts = {split: _texts([each for each in examples if each.split == split]) for split in SPLITS}
    others = {"valid": texts["valid"], "test": texts["test"]}
    if traffic is not None:
        others[TRAFFIC] = _texts(read_stored(workspace, traffic).examples)
    if against is not None:
        others[against] = _texts(list(find_questions(workspace, against)))
    covered = coverage(texts["train"], others)
    curve, no_curve = None, None
    if recipe is not None:
        try:
            curve = await measure_curve(workspace, dataset, recipe, seeds=seeds, progress=progress)
        except (MissingExtraError, PermissionRefusedError, RecipeError, TrainingError, UsageError) as exc:
            if recipe is not QUICK:
                raise
            no_curve = str(exc)
    description = describe(examples)
    report = DataReport(
        name=dataset.name,
        fingerprint=dataset.fingerprint,
        description=description,
        coverage=covered,
        curve=curve,
        no_curve=no_curve,
    )
    return report.model_copy(update={"words": tuple(_words(report, dataset))})


def _texts(examples: list[Example]) -> list[str]:
    return [prompt_text(example.messages) for example in examples]


def _words(report: DataReport, dataset: Dataset) -> list[str]:
    """What to do, or that nothing is to be done."""
    found, described = [], report.description
    again = described.duplicates
    if again.exact or again.near:
        found.append(f"{again.exact} rows are exact and {again.near} near duplicates of another one of their split.")
    if described.leaks:
        found.append(f"{described.leaks} pairs of questions stand in two splits: accuracy on the later one flatters.")
    if dataset.waived_leaks:
        found.append(f"{dataset.waived_leaks} of them were accepted when the version was made.")
    if described.labels is not None:
        found += _words_of_labels(report)
    for origin, covered in report.coverage.covered.items():
        interval = share(covered.near, covered.texts)
        found.append(
            f"{_percent(interval.value)} of {covered.texts:,} texts of {origin} (95 %: {interval.low * 100:.1f} to "
            f"{interval.high * 100:.1f}) have a training text near them; texts like those of train would have 95 %."
        )
    if report.coverage.thin:
        thin = report.coverage.thin[0]
        found.append(f"Least covered, for how often it is asked: questions like '{thin.middle}' ({thin.train} in train).")
    if report.curve is not None:
        found.append(report.curve.words)
    if report.no_curve is not None:
        found.append(f"No learning curve: {report.no_curve}")
    return found


def _words_of_labels(report: DataReport) -> list[str]:
    labels = report.description.labels
    assert labels is not None
    rarest = min(labels.counts, key=lambda label: (labels.counts[label], label))
    often = next(iter(labels.counts))
    found = [
        f"{len(labels.counts)} labels, evenness {labels.evenness:.2f}: '{often}' has {labels.counts[often]:,} texts of train, "
        f"'{rarest}' {labels.counts[rarest]:,}."
    ]
    for split, unseen in labels.unseen.items():
        found.append(f"{len(unseen)} labels of {split} are not in train, so no student can learn them: {', '.join(unseen[:5])}.")
    return found


def _percent(share_of_all: float) -> str:
    return f"{share_of_all * 100:.1f} %"
