"""`stillhouse dataset`: immutable versions of examples, made from completions or files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli import filters, version_options
from stillhouse.cli.dataset_tables import examples_table, lines_table, made_table
from stillhouse.cli.output import JsonFlag, Session, new_table, when
from stillhouse.errors import UsageError

if TYPE_CHECKING:
    from stillhouse.curation import Version
    from stillhouse.dataset import Dataset, Example

app = typer.Typer(no_args_is_help=True)

CHECK_FAILED = 1


@app.command()
def build(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The report's dataset, with --from-report.", show_default=False)] = None,
    model: filters.Model = None,
    metadata: filters.Metadata = None,
    since: filters.Since = None,
    until: filters.Until = None,
    finish_reason: filters.FinishReason = None,
    text: filters.WithText = None,
    tag: filters.Tag = None,
    only_right: Annotated[
        str | None, typer.Option("--only-right", metavar="GRADER", help="Keep answers that pass against metadata 'reference'.")
    ] = None,
    split: version_options.Split = "0.8,0.1,0.1",
    seed: version_options.Seed = 0,
    near_duplicates: version_options.Near = "0.9",
    near_leaks: version_options.NearLeaks = "0.9",
    drop_leaks: version_options.DropLeaks = False,
    allow_leaks: version_options.AllowLeaks = 0,
    extend: Annotated[
        str | None, typer.Option("--extend", metavar="DATASET", help="Its next version: same valid and test, more train.")
    ] = None,
    from_report: Annotated[
        str | None, typer.Option("--from-report", metavar="REPORT", help="The next version: the like of what failed there.")
    ] = None,
    like: Annotated[int, typer.Option("--like", min=1, help="With --from-report: so many for each failure.")] = 10,
    json: JsonFlag = False,
) -> None:
    """A version made of stored completions: filtered, without duplicates, split, checked for leaks."""
    from stillhouse.cli.building import Wanted, build_version

    session: Session = ctx.obj
    wanted = Wanted(
        query=filters.completion_query(model, metadata, since, until, finish_reason, text, tag),
        options=version_options.options_of(split, seed, near_duplicates, near_leaks, drop_leaks, allow_leaks),
        name=name,
        only_right=only_right,
        parent=extend,
        report=from_report,
        like=like,
    )
    _save(session, asyncio.run(build_version(session.workspace, wanted, session.say)))


@app.command("import")
def import_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    file: Annotated[Path, typer.Argument(help="CSV with text,category; OpenAI chat JSONL; Parquet. Alone, it is split.")],
    valid: Annotated[Path | None, typer.Option("--valid", help="A file that is the valid split.", show_default=False)] = None,
    test: Annotated[Path | None, typer.Option("--test", help="A file that is the test split.", show_default=False)] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="csv, openai_jsonl, openai_preference, prompt_completion, parquet. Default: by the name."),
    ] = None,
    encoding: Annotated[str, typer.Option("--encoding", help="gb18030 for files from Excel in Chinese.")] = "utf-8",
    split: version_options.Split = "0.8,0.1,0.1",
    seed: version_options.Seed = 0,
    near_duplicates: version_options.Near = "off",
    near_leaks: version_options.NearLeaks = "0.9",
    drop_leaks: version_options.DropLeaks = False,
    allow_leaks: version_options.AllowLeaks = 0,
    json: JsonFlag = False,
) -> None:
    """A version made of files. A bad row is put aside with its line and reason; the others come in."""
    from stillhouse import curation
    from stillhouse.sources import read_files

    session: Session = ctx.obj
    collected = read_files({"train": file, "valid": valid, "test": test}, format_, encoding)
    _tell_quarantined(session, [(name, row.line, row.reason) for name, row in collected.quarantined])
    options = version_options.options_of(split, seed, near_duplicates, near_leaks, drop_leaks, allow_leaks)
    files = [path.name for path in (file, valid, test) if path is not None]
    _save(session, curation.build(name, collected, options, recipe={"files": files, "encoding": encoding}))


@app.command("list")
def list_(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Option("--name", help="Only versions of this name.", show_default=False)] = None,
    json: JsonFlag = False,
) -> None:
    """Every version, newest first."""
    session: Session = ctx.obj
    datasets = sorted(session.workspace.store.datasets(name), key=lambda dataset: dataset.created, reverse=True)
    table = new_table("name", "version", ">train", ">valid", ">test", "teachers", "made")
    for dataset in datasets:
        counts = (f"{dataset.counts.get(split, 0):,}" for split in ("train", "valid", "test"))
        table.add_row(dataset.name, dataset.short, *counts, ", ".join(dataset.teachers) or "-", when(dataset.created))
    session.emit(datasets, lambda: table)


@app.command()
def show(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="name, name@version or fingerprint.")],
    rows: Annotated[int, typer.Option("--rows", min=0, help="Show so many examples of each split.")] = 0,
    json: JsonFlag = False,
) -> None:
    """One version's manifest: how it was made, of what, what was left out. With --rows, examples too."""
    session: Session = ctx.obj
    found = session.workspace.dataset(dataset)
    if rows:
        examples = _examples(session, found, rows)
        session.emit(examples, lambda: examples_table(examples))
    else:
        session.emit(found)


@app.command()
def diff(ctx: typer.Context, before: str, after: str, json: JsonFlag = False) -> None:
    """What the second version has that the first has not, and the other way round."""
    from stillhouse import curation

    session: Session = ctx.obj
    first, second = (session.workspace.dataset(name) for name in (before, after))
    found = curation.diff(_examples(session, first), _examples(session, second))
    table = new_table(f"{first.name} {first.short} -> {second.name} {second.short}", ">rows")
    for word in ("added", "removed", "changed", "moved"):
        table.add_row(word, f"{len(getattr(found, word)):,}")
    table.add_row("same", f"{found.same:,}")
    session.emit(found, lambda: table)


@app.command()
def check(ctx: typer.Context, dataset: str, json: JsonFlag = False) -> None:
    """Whether a version is what its manifest says: hashes, counts, answers, leaks. Exit code 1 when it is not."""
    from stillhouse import curation

    session: Session = ctx.obj
    found = session.workspace.dataset(dataset)
    problems = curation.check(found, session.workspace.dataset_folder(found.fingerprint))
    session.emit({"dataset": found.fingerprint, "problems": problems}, lambda: lines_table(problems or ["Nothing is wrong."]))
    if problems:
        raise typer.Exit(CHECK_FAILED)


@app.command()
def report(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="name, name@version or fingerprint.")],
    curve: Annotated[bool, typer.Option("--curve/--no-curve", help="Measure how accuracy grows with the data.")] = True,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Of the curve's students. Default: linear, seconds each.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Students of each size.")] = 3,
    traffic: Annotated[bool, typer.Option("--traffic", help="Are the questions the gateway kept covered, too?")] = False,
    since: filters.Since = None,
    against: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Are the questions of this dataset or file covered, too?")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="A page of it, with the curve.")] = None,
    json: JsonFlag = False,
) -> None:
    """What is in a dataset, what it covers, and how much more of it would help.

    Duplicates, lengths, labels, leaks; whether the questions of test, or of live traffic, are near one that is learned from;
    and a learning curve, which says what twice as many texts would add.
    """
    from stillhouse.cli.data_report import report_tables
    from stillhouse.cli.watching import asking
    from stillhouse.files import write_atomic
    from stillhouse.jobs.data_report import report_data
    from stillhouse.jobs.data_report_page import page
    from stillhouse.jobs.learning_curves import QUICK
    from stillhouse.recipe import load_recipe

    session: Session = ctx.obj
    wanted = (load_recipe(recipe) if recipe is not None else QUICK) if curve else None
    stored = filters.completion_query(since=since) if traffic or since is not None else None
    session.workspace.share()
    with asking(session) as progress:
        reporting = report_data(
            session.workspace,
            dataset,
            recipe=wanted,
            seeds=seeds,
            traffic=stored,
            against=against,
            progress=lambda done, of: progress("students", done, of),
        )
        found = asyncio.run(reporting)
    if html is not None:
        write_atomic(html, page(found).encode())
        session.say(f"The page is {html}.")
    session.emit(found, lambda: report_tables(found))


@app.command()
def export(
    ctx: typer.Context,
    dataset: str,
    out: Annotated[Path, typer.Option("--out", help="A new folder.")],
    format_: Annotated[
        str, typer.Option("--format", help="openai_jsonl, openai_preference, prompt_completion, csv or parquet.")
    ] = "openai_jsonl",
    bom: Annotated[bool, typer.Option("--bom", help="CSV that Excel opens as UTF-8.")] = False,
    json: JsonFlag = False,
) -> None:
    """A version as files for other tools: one a split, with manifest.json and, for Parquet, a dataset card."""
    from stillhouse.dataset import SPLITS
    from stillhouse.formats import FORMATS
    from stillhouse.formats.examples import read_examples
    from stillhouse.formats.export import export_dataset

    session: Session = ctx.obj
    if bom and format_ != "csv":
        raise UsageError(f"--bom is for csv; the format is {format_}.")
    found = session.workspace.dataset(dataset)
    folder = session.workspace.dataset_folder(found.fingerprint)
    rows = {split: read_examples(folder, split) for split in SPLITS}
    kind = FORMATS.resolve(format_)
    manifest = export_dataset(found, rows, kind(bom=True) if bom else kind(), out, name=format_)
    session.say(f"{found.name} is in {out}: {', '.join(manifest['files'])}.")
    session.emit({"folder": str(out), **manifest}, lambda: lines_table(manifest["files"]))


@app.command()
def remove(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="name@version or fingerprint; a name of which there is one version.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say what would go.")] = False,
    json: JsonFlag = False,
) -> None:
    """Take a version away for good, its files too. Versions and models made of it stay and are named; a run that is not over and
    reads it keeps it.
    """
    from stillhouse.jobs.removing import made_of, removable_dataset, remove_dataset

    session: Session = ctx.obj
    found = (remove_dataset if yes else removable_dataset)(session.workspace, dataset)
    if not yes:
        session.say(f"{found.name}@{found.short} would be removed: {sum(found.counts.values()):,} rows. Add --yes.")
    kept = list(made_of(session.workspace.store, found))
    for each in kept:
        session.say(f"Made of it, and kept: {each.said}")
    session.emit({"dataset": found.fingerprint, "removed": yes, "kept": [each.model_dump() for each in kept]})


def _save(session: Session, version: Version) -> None:
    from stillhouse.curation import save

    dataset = save(version, session.workspace.dataset_folder, session.workspace.store)
    session.emit(dataset, lambda: made_table(dataset))
    session.say(f"Train on it with: stillhouse train run RECIPE --dataset {dataset.name}@{dataset.short}")


def _tell_quarantined(session: Session, rows: list[tuple[str, int, str]], shown: int = 10) -> None:
    for file, line, reason in rows[:shown]:
        session.say(f"Put aside: {file}, line {line}: {reason}.")
    if len(rows) > shown:
        session.say(f"... and {len(rows) - shown} more; the manifest lists them: stillhouse dataset show DATASET --json")


def _examples(session: Session, dataset: Dataset, limit: int | None = None) -> list[Example]:
    from stillhouse.dataset import SPLITS
    from stillhouse.formats.examples import read_examples

    folder = session.workspace.dataset_folder(dataset.fingerprint)
    return [example for split in SPLITS for example in read_examples(folder, split)[:limit]]
