"""Voted labels -> a dataset version: each text that got one is an example, with how probable its label is."""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.curation import Options, build, save
from stillhouse.curation.build import in_order
from stillhouse.dataset import Dataset, Example, example_id, strictest
from stillhouse.jobs.classification import Heard, Wish
from stillhouse.jobs.questions import Questions
from stillhouse.labelling import with_answer
from stillhouse.voting import Combined
from stillhouse.voting.reporting import VotingReport
from stillhouse.workspace import Workspace

FUNCTIONS = "labelling functions"
"""Who answered, where no teacher did."""
LEAST_SHARE = 0.02
"""Labels that are less probable than this are no soft targets."""
CONFIDENCE = "confidence"
"""Metadata of an example: how probable its label is."""


def save_version(
    workspace: Workspace,
    wish: Wish,
    questions: Questions,
    examples: Sequence[Example],
    columns: Sequence[Heard],
    combined: Combined,
    chosen: Sequence[str | None],
    report: VotingReport,
) -> Dataset:
    labelled, probable = [], {}
    for row, (example, label) in enumerate(zip(examples, chosen, strict=True)):
        if label is not None:
            answered = _with_label(example, label, float(combined.confidence_N[row]), weighted=wish.targets == "weighted")
            labelled.append(answered)
            probable[answered.id] = row
    collected = questions.account()
    answered_by = [column.target for column in columns if column.target is not None]
    kept = collected.kept(labelled)
    for reason, count in report.left_out.items():
        kept.left_out(reason, count)
    names = ", ".join(target.name for target in answered_by) or FUNCTIONS
    kept.teacher_of = {example.source: names for example in labelled if example.source is not None}
    for target in answered_by:
        kept.may_train = strictest(kept.may_train, {target.upstream: target.may_train})
    options = Options(near_duplicates=None if kept.given_splits else wish.near_duplicates)
    said = wish.model_dump(mode="json", exclude={"concurrency", "budget"})
    shown = report.model_dump(mode="json", exclude={"labels", "left_out"})
    version = build(wish.out, kept, options, recipe={"classify": said, "voting": shown})
    if wish.targets == "soft":
        names_K = wish.classification.labels.names
        rows = {
            identity: dict(zip(names_K, combined.posterior_NK[row].tolist(), strict=True)) for identity, row in probable.items()
        }
        version.examples = in_order([each for example in version.examples for each in _softened(example, rows[example.id])])
    return save(version, workspace.dataset_folder, workspace.store)


def _with_label(example: Example, label: str, confidence: float, *, weighted: bool) -> Example:
    labelled = with_answer(example, label)
    metadata = {**labelled.metadata, CONFIDENCE: f"{confidence:.4f}"}
    weight = labelled.weight * confidence if weighted else labelled.weight
    return labelled.model_copy(update={"metadata": metadata, "weight": weight})


def _softened(example: Example, shares: dict[str, float]) -> list[Example]:
    """One example for each label that is probable at all, weighted by how probable; outside of train, the likeliest alone."""
    if example.split != "train":
        return [example]
    likely = {label: share for label, share in shares.items() if share >= LEAST_SHARE or label == example.answer}
    total = sum(likely.values())
    return [
        example.model_copy(
            update={
                "id": example_id(example.messages, label, example.tools),
                "answer": label,
                "weight": example.weight * share / total,
            }
        )
        for label, share in likely.items()
    ]
