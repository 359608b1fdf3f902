"""What `dataset build` does between its options and the verbs: choose the parent, and of the rows those that it needs.

Names are looked up here (graders, reports); what is done with the rows is `curation`'s and `evaluation`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stillhouse import curation, evaluation
from stillhouse.completion import CompletionQuery
from stillhouse.curation import Collected, Options, Version
from stillhouse.curation.duplicates import identity
from stillhouse.curation.similarity import prompt_text
from stillhouse.dataset import SPLITS, Dataset, Example
from stillhouse.errors import UsageError
from stillhouse.formats.examples import read_examples
from stillhouse.jobs.evaluations import find_report, report_rows
from stillhouse.sources import read_stored
from stillhouse.workspace import Workspace


@dataclass(frozen=True)
class Wanted:
    """What the options of `dataset build` say."""

    query: CompletionQuery
    options: Options
    name: str | None = None
    only_right: str | None = None
    parent: str | None = None
    report: str | None = None
    like: int = 10


async def build_version(workspace: Workspace, wanted: Wanted, say: Callable[[str], None]) -> Version:
    """A version of stored completions: a first one, or the next of a parent's. Raises UsageError, LeakError."""
    if (wanted.parent is not None) + (wanted.report is not None) + (wanted.name is not None) != 1:
        raise UsageError("Say one of: a NAME for a new dataset, --extend DATASET, or --from-report REPORT.")
    collected = read_stored(workspace, wanted.query)
    if wanted.only_right is not None:
        collected = await curation.keep_right(collected, workspace.grader(wanted.only_right))
    filters = wanted.query.model_dump(mode="json", exclude_defaults=True)
    recipe: dict[str, Any] = {"completions": filters, "only_right": wanted.only_right}
    if wanted.name is not None:
        return curation.build(wanted.name, collected, wanted.options, recipe=recipe)
    if wanted.report is not None:
        return _from_report(workspace, wanted, collected, recipe, say)
    parent = workspace.dataset(wanted.parent or "")
    return curation.extend(parent, _examples(workspace, parent), collected, wanted.options, recipe=recipe)


def _from_report(
    workspace: Workspace, wanted: Wanted, collected: Collected, recipe: dict[str, Any], say: Callable[[str], None]
) -> Version:
    """The parent of the report, and of the collected rows those most like what its headline's model got wrong."""
    report = find_report(workspace, wanted.report or "")
    parent = workspace.dataset(report.dataset)
    examples = _examples(workspace, parent)
    model, grader = evaluation.headline(report).model, report.graders[0]
    failed = evaluation.failures(report_rows(workspace, report), model=model, grader=grader)
    measured = [example for example in examples if example.split == report.split]
    focus = evaluation.focus_on(report, failed, measured, model=model, grader=grader)
    known = {identity(example) for example in examples}
    pool = [example for example in collected.examples if identity(example) not in known]
    texts = [prompt_text(example.messages) for example in pool]
    picked = [pool[position] for position in curation.similar_prompts(focus.prompts, texts, each=wanted.like)]
    say(f"{len(failed):,} failures of {model}; {len(picked):,} of {len(pool):,} new answers are like them.")
    new = collected.kept(picked)
    new.left_out("not like a failure", len(pool) - len(picked))
    new.left_out("in the parent already", len(collected.examples) - len(pool))
    recipe = {**recipe, "from_report": {"report": report.id, "model": model, "grader": grader, "failures": len(failed)}}
    return curation.extend(parent, examples, new, wanted.options, recipe={**recipe, "like": wanted.like})


def _examples(workspace: Workspace, dataset: Dataset) -> list[Example]:
    folder = workspace.dataset_folder(dataset.fingerprint)
    return [example for split in SPLITS for example in read_examples(folder, split)]
