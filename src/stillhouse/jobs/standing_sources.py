"""Where `cot report` gets its measures: a folder in the paper's layout, stored reports, a file that a benchmark wrote.

A folder's completions are scored anew by the rules of `cot score`, all on the test split where there is one, so that a teacher
who was asked everything is compared on the questions that the students answered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stillhouse.curation.rationales import Reading, Rule, read_folder, right
from stillhouse.curation.rationales.scoring import by_question, votes
from stillhouse.errors import FormatError, NotFoundError
from stillhouse.evaluation.standings import Measure
from stillhouse.formats.reasoning_teacher.documents import Samples
from stillhouse.formats.reasoning_teacher.layout import dataset_file, read_split
from stillhouse.grade import ModelResult, Report
from stillhouse.jobs.evaluations import find_report
from stillhouse.reasoning import TASKS, Rationale
from stillhouse.records import problems_of
from stillhouse.workspace import Workspace

_ANSWER_ALONE = ("ft_natural", "ft_token")


def measures_of(
    workspace: Workspace, source: str, *, rule: Rule = "numeric", split: str = "default", answers: str | None = None
) -> list[Measure]:
    """Of one source. Raises NotFoundError, FormatError, UsageError."""
    path = Path(source)
    if path.is_dir():
        return list(_of_folder(path, rule, split, answers))
    if path.is_file():
        return with_guessing(_of_file(path))
    return list(_of_report(workspace, find_report(workspace, source)))


def with_guessing(measures: Sequence[Measure]) -> list[Measure]:
    """And what guessing would get, for each of the twelve tasks among them that can be guessed."""
    sizes = {each.task: each.n for each in measures}
    there = {each.task for each in measures if each.role == "random"}
    return [*measures, *(_random(task, n) for task, n in sizes.items() if task in TASKS and task not in there)]


# -- a folder in the paper's layout ------------------------------------------------------------------------------------------


def _of_folder(root: Path, rule: Rule, split: str, answers: str | None) -> Iterator[Measure]:
    readings: dict[str, list[Reading]] = {}
    for reading in read_folder(root, answers=answers):
        readings.setdefault(reading.task.key, []).append(reading)
    if not readings:
        raise NotFoundError(f"{root} holds no completion files.")
    for key, its in readings.items():
        test, majority = _test_of(root, key, split)
        found = [measure for reading in its for measure in _of_reading(reading, test, rule)]
        yield from found
        if majority is not None:
            yield majority
        if found:
            yield _random(key, found[0].n, its[0].task.random)


def _of_reading(reading: Reading, test: set[Any] | None, rule: Rule) -> Iterator[Measure]:
    """Its first completions, and where questions have several, their majority."""
    asked = [each for each in reading.rationales if each.completion is not None and (test is None or each.sample in test)]
    groups = by_question(asked)
    if not groups:
        return
    common = {"task": reading.task.key, "role": _role(reading), "model": _model(reading), "n": len(groups)}
    firsts = [group[0] for group in groups]
    several = max(map(len, groups))
    sampled = {} if several == 1 else {"decoding": "one sample"}
    yield Measure.model_validate({**common, **sampled, "correct": sum(right(each, rule) for each in firsts)})
    if several > 1:
        correct = sum(_elected_is_right(group, rule) for group in groups)
        yield Measure.model_validate({**common, "decoding": f"majority of {several}", "correct": correct})


def _elected_is_right(group: Sequence[Rationale], rule: Rule) -> bool:
    leaders = next(iter(votes(group).values()), None)
    return leaders is not None and right(leaders[0], rule)


def _role(reading: Reading) -> str:
    template = reading.completions.template or reading.completion_key
    if template in _ANSWER_ALONE:
        return "answer-only"
    if reading.finetune_key is not None or template.startswith("ft_"):
        return "student"
    return {"fs_cot": "few-shot", "zs": "zero-shot"}.get(template, "teacher")


def _model(reading: Reading) -> str:
    return reading.base_model if reading.finetune_key is None else f"{reading.base_model}, {reading.finetune_key}"


def _test_of(root: Path, key: str, split: str) -> tuple[set[Any] | None, Measure | None]:
    """The test questions, and what the most frequent answer of the training questions gets right of them; None where unknown."""
    try:
        sides = read_split(root, key, split)
    except NotFoundError:
        return None, None
    test = set(sides.get("test", []))
    path = dataset_file(root, key)
    if path is None:
        return test, None
    gold = {row["sample_index"]: str(row.get("answer", "")) for row in Samples.read(path).rows}
    trained = Counter(gold[sample] for sample in sides.get("train", []) if sample in gold)
    asked = [gold[sample] for sample in test if sample in gold]
    if not trained or not asked:
        return test, None
    [(commonest, _)] = trained.most_common(1)
    return test, Measure(task=key, role="majority", model=commonest, n=len(asked), correct=asked.count(commonest))


def _random(task: str, n: int, percent: float | None = None) -> Measure:
    chance = (TASKS[task].random if percent is None else percent) / 100
    return Measure(task=task, role="random", n=n, correct=chance * n)


# -- a file of measures, and stored reports -----------------------------------------------------------------------------------


def _of_file(path: Path) -> list[Measure]:
    """JSON lines; fields that a measure has not are passed over."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            known = {name: value for name, value in row.items() if name in Measure.model_fields}
            found.append(Measure.model_validate(known))
        except ValidationError as exc:
            raise FormatError(f"{path}, line {number} is no measure. {problems_of(exc)}.") from None
        except (ValueError, AttributeError) as exc:
            raise FormatError(f"{path}, line {number} is no measure: {exc}.") from None
    if not found:
        raise FormatError(f"{path} holds no measure.")
    return found


def _of_report(workspace: Workspace, report: Report) -> Iterator[Measure]:
    """The first grader's figures; task by task where the report has slices by task."""
    grader, samples = report.graders[0], int(report.settings.get("samples", 1))
    sizes = report.settings.get("slice_sizes", {})
    for result in report.results:
        role, d = _lineage(workspace, result)
        slices = {name.removeprefix("task="): name for name in result.slices if name.startswith("task=")}
        for task, name in slices.items() or [(report.name, "")]:
            n = int(sizes.get(name, 0)) if name else report.examples
            figure = (result.slices[name] if name else result.accuracy).get(grader)
            if figure is not None and n:
                yield Measure(
                    task=task,
                    role=role,
                    model=result.model,
                    n=n,
                    correct=round(figure.value * n),
                    decoding="greedy" if samples == 1 else f"majority of {samples}",
                    parameters=result.parameters,
                    d=d,
                )


def _lineage(workspace: Workspace, result: ModelResult) -> tuple[str, int | None]:
    """A student's role by its recipe (`rationale = false` is answer-only), and D by the version it was taught with."""
    artifact = workspace.store.artifact(result.model)
    if artifact is None:
        return result.role, None
    if artifact.recipe.get("method", {}).get("rationale") is False:
        return "answer-only", None
    taught = workspace.store.dataset(artifact.dataset) if artifact.dataset else None
    d = None if taught is None else taught.recipe.get("rationales", {}).get("d")
    return result.role, d if isinstance(d, int) else None
