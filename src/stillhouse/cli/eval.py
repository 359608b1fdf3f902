"""`stillhouse eval`: student, teacher and base on the same questions; what changed since; what still goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table, when
from stillhouse.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from stillhouse.dataset import Split
    from stillhouse.grade import Report

app = typer.Typer(no_args_is_help=True)

GATE_NOT_MET = 3

Temperature = Annotated[
    float | None,
    typer.Option(help="Below 0: not sent, for models that refuse it. Default: 0; with --samples, 0.7.", show_default=False),
]
Samples = Annotated[
    int, typer.Option(min=1, help="Answers to each question; the one that most come to counts (self-consistency).")
]


@app.command("run")
def run_(
    ctx: typer.Context,
    dataset: Annotated[str | None, typer.Argument(help="Name, name@prefix or fingerprint.", show_default=False)] = None,
    dataset_option: Annotated[str | None, typer.Option("--dataset", help="The same, by name.", show_default=False)] = None,
    student: Annotated[str | None, typer.Option(help="Model whose accuracy is the headline.", show_default=False)] = None,
    teacher: Annotated[str | None, typer.Option(help="Model that agreement is measured with.", show_default=False)] = None,
    base: Annotated[str | None, typer.Option(help="The student before it was trained.", show_default=False)] = None,
    control: Annotated[str | None, typer.Option(help="A student of another training, to compare.", show_default=False)] = None,
    grader: Annotated[list[str] | None, typer.Option(help="Again for more; the first is the headline's. Default: exact.")] = None,
    judge: Annotated[str | None, typer.Option(help="Model that judges: rubric:NAME, pairwise.", show_default=False)] = None,
    slice_: Annotated[list[str] | None, typer.Option("--slice", metavar="KEY", help="A metadata key to report by.")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Evaluate on so many examples, drawn by hash.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time; latencies are measured under this load.")] = 8,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 256,
    temperature: Temperature = None,
    samples: Samples = 1,
    name: Annotated[str | None, typer.Option(help="The report's name; the dataset's when not said.", show_default=False)] = None,
    fail_under: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with 3 when the headline's accuracy is lower, e.g. 0.9.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Ask every model the same questions, grade the answers, keep the report.

    Killed midway and started again with the same words, it goes on where it was.
    """
    from stillhouse.cli.report_table import report_table
    from stillhouse.cli.watching import asking
    from stillhouse.evaluation import Plan
    from stillhouse.jobs.evaluations import Graders, evaluate_models

    session: Session = ctx.obj
    wanted = dataset or dataset_option
    if wanted is None:
        raise UsageError(
            "No dataset is named: stillhouse eval run DATASET --student MODEL. List them with: stillhouse dataset list"
        )
    roles = {"student": student, "teacher": teacher, "base": base, "control": control}
    models = {role: model for role, model in roles.items() if model is not None}
    workspace = session.workspace
    workspace.share()
    found = workspace.dataset(wanted)
    plan = Plan(
        name=name or found.name,
        dataset=found.fingerprint,
        slices=tuple(slice_ or ()),
        max_tokens=max_tokens,
        temperature=_temperature(temperature, samples),
        samples=samples,
        concurrency=concurrency,
    )
    by = Graders(tuple(grader or ["exact"]), judge)
    with asking(session) as progress:
        evaluation = evaluate_models(workspace, found, models, plan, by, split=_split(split), limit=limit, progress=progress)
        report = asyncio.run(evaluation)
    session.emit(report, lambda: report_table(report))
    session.say(f"Kept as {report.id}. What went wrong: stillhouse eval failures {report.id}")
    _gate(session, report, fail_under)


@app.command("list")
def list_(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option(help="Only reports of this name.", show_default=False)] = None,
    json: JsonFlag = False,
) -> None:
    """Every report, newest first."""
    from stillhouse.cli.report_table import interval_text
    from stillhouse.evaluation import headline

    session: Session = ctx.obj
    reports = sorted(session.workspace.store.reports(name), key=lambda report: report.id, reverse=True)
    table = new_table("report", "name", "made", "dataset", "split", ">examples", "model", ">accuracy")
    for report in reports:
        head, grader = headline(report), report.graders[0]
        table.add_row(
            report.id,
            report.name,
            when(report.created),
            report.dataset.removeprefix("sha256:")[:12],
            report.split,
            f"{report.examples:,}",
            f"{head.role} {head.model}",
            f"{interval_text(head.accuracy[grader])} ({grader})",
        )
    session.emit(reports, lambda: table)


@app.command()
def show(ctx: typer.Context, report: str, json: JsonFlag = False) -> None:
    """One report again. REPORT is an id, or a name for its newest."""
    from stillhouse.cli.report_table import report_table
    from stillhouse.jobs.evaluations import find_report

    session: Session = ctx.obj
    found = find_report(session.workspace, report)
    session.emit(found, lambda: report_table(found))


@app.command()
def compare(
    ctx: typer.Context,
    before: str,
    after: str,
    margin: Annotated[
        float | None, typer.Option(min=0, max=1, help="Say whether AFTER is no worse by more than this, e.g. 0.02.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """What changed from one report to another, role by role: ids, names for their newest, or an eval's runs (evalrun-...)."""
    from stillhouse.cli.report_table import changes_table
    from stillhouse.jobs.evaluations import compare_reports

    session: Session = ctx.obj
    changes = compare_reports(session.workspace, before, after, margin)
    if not changes:
        session.say("The two reports have no role and grader in common.")
    session.emit(changes, lambda: changes_table(changes))
    for change in changes:
        if change.verdict is not None:
            session.say(f"{change.role} ({change.grader}): {change.verdict.words}")
        elif margin is not None:
            session.say(f"{change.role} ({change.grader}): no verdict, for the two did not answer the same examples.")


@app.command()
def contamination(ctx: typer.Context, report: str, json: JsonFlag = False) -> None:
    """Which of the questions a model was trained on. REPORT is an id, a name for its newest, or an eval's run (evalrun-...)."""
    from rich.text import Text

    from stillhouse.jobs.evaluations import contamination as contamination_of

    session: Session = ctx.obj
    found = contamination_of(session.workspace, report)
    table = new_table("model", ">alike", "question", "stands in its training data as", ">questions", ">known")
    for each in found:
        for leak in each.pairs:
            cells = (_short(leak.other_text), _short(leak.seen_text))
            table.add_row(Text(each.model), f"{leak.similarity:.2f}", *map(Text, cells), f"{each.questions:,}", f"{each.found:,}")
    session.emit(found, lambda: table)
    for each in found:
        session.say(each.words)


@app.command()
def failures(
    ctx: typer.Context,
    report: str,
    model: Annotated[str | None, typer.Option(help="Default: the headline's.", show_default=False)] = None,
    grader: Annotated[str | None, typer.Option(help="Default: the report's first.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows of the table; --json has all.")] = 20,
    json: JsonFlag = False,
) -> None:
    """The answers that did not pass. Learn from their like: stillhouse dataset build --from-report REPORT."""
    from rich.text import Text

    from stillhouse.evaluation import failures as failures_of
    from stillhouse.evaluation import headline
    from stillhouse.jobs.evaluations import find_report, report_rows

    session: Session = ctx.obj
    found = find_report(session.workspace, report)
    model, grader = model or headline(found).model, grader or found.graders[0]
    _check(found, model, grader)
    failed = failures_of(report_rows(session.workspace, found), model=model, grader=grader)
    asked = _questions(session, found)
    table = new_table("question", "label", "answer", "reason", title=f"{len(failed):,} of {found.examples:,} ({model}, {grader})")
    for row in failed[:limit]:
        reason = row.error or (row.grades[grader].reason if grader in row.grades else "")
        table.add_row(*(Text(cell) for cell in (asked(row.example), row.label or "-", _short(row.answer), _short(reason))))
    session.emit(failed, lambda: table)


def _questions(session: Session, report: Report) -> Callable[[str], str]:
    """What an example asked, shortened; its id where the dataset is gone."""
    from stillhouse.jobs.evaluations import report_examples
    from stillhouse.transcript import message_text

    try:
        examples = report_examples(session.workspace, report)
    except NotFoundError:
        return str
    texts = {example.id: _short(message_text(example.messages[-1])) for example in examples}
    return lambda example: texts.get(example, example)


def _gate(session: Session, report: Report, least: float | None) -> None:
    from stillhouse.evaluation import headline

    head, grader = headline(report), report.graders[0]
    if least is None:
        return
    met = head.accuracy[grader].value >= least
    session.say(f"Gate: {head.model} {head.accuracy[grader].value:.4f} >= {least:g} ({grader}): {'pass' if met else 'FAIL'}")
    if not met:
        raise typer.Exit(GATE_NOT_MET)


def _check(report: Report, model: str, grader: str) -> None:
    models = [result.model for result in report.results]
    if model not in models:
        raise UsageError(f"The report {report.id} is not about '{model}'. It is about: {', '.join(models)}.")
    if grader not in report.graders:
        raise UsageError(f"The report {report.id} was not graded by '{grader}', but by: {', '.join(report.graders)}.")


def _temperature(wanted: float | None, samples: int) -> float | None:
    """Several answers at temperature 0 would be one: 0.7 is Wang et al.'s. None: not sent."""
    if wanted is None:
        return 0.0 if samples == 1 else 0.7
    return None if wanted < 0 else wanted


def _split(name: str) -> Split:
    splits: dict[str, Split] = {"train": "train", "valid": "valid", "test": "test"}
    if name not in splits:
        raise UsageError(f"There is no split '{name}'. There are: train, valid, test.")
    return splits[name]


def _short(text: str | None) -> str:
    """On one line, the end kept: that is where an answer stands."""
    line = " ".join((text or "-").split())
    return line if len(line) <= 80 else f"...{line[-77:]}"
