"""`stillhouse cot`: chains of thought: scored, filtered, generated, brought in and taken out in the paper's own files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli import budget_options
from stillhouse.cli.output import JsonFlag, Session, new_table
from stillhouse.cli.sieve_options import WITHOUT_OPTIONS, Answers, RuleOption, Sieving, rule_of, with_sieve_options

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.curation.rationales import Score
    from stillhouse.curation.rationales.filtering import Filtered

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Holds completion_data/ and dataset/, or saved/ and data/ with them; or one completion file."
    ),
]
TemplateName = Annotated[
    str | None, typer.Option("--template", help="ft_cot_token, ft_cot_natural, ...: how the student is asked.")
]
ShapeName = Annotated[str, typer.Option("--shape", help="The template's: decoder, encoder_decoder or gpt3.")]


@app.command()
def score(
    ctx: typer.Context, folder: Folder, rule: RuleOption = "numeric", answers: Answers = None, json: JsonFlag = False
) -> None:
    """How many completions come to the right answer, a run a file; every answer is extracted from the text anew."""
    from stillhouse.curation.rationales import read_folder
    from stillhouse.curation.rationales import score as score_

    session: Session = ctx.obj
    found = [score_(reading, rule_of(rule)) for reading in read_folder(folder, answers=answers)]
    for each in found:
        _warn(session, each)
    session.emit({"rule": rule, "runs": found}, lambda: _score_table(found))


@app.command("filter")
@with_sieve_options
def filter_(
    ctx: typer.Context,
    folder: Folder,
    sieving: Sieving = WITHOUT_OPTIONS,
    out: Annotated[Path | None, typer.Option("--out", help="Write there what is kept and what is put aside.")] = None,
    template: TemplateName = None,
    shape: ShapeName = "decoder",
    split: Annotated[str, typer.Option("--split", help="Fine-tuning data of this split: default, template, or all.")] = "default",
    part: Annotated[str, typer.Option("--part", help="... and of this part of it.")] = "train",
    platform: Annotated[str, typer.Option("--platform", help="openai: JSON lines that end in END. Any other: lists.")] = "openai",
    json: JsonFlag = False,
) -> None:
    """Which rationales to learn from: kept, or put aside with the reason; by default those with the right answer are kept."""
    from stillhouse.cli.sifting import FineTuneWish, filtered

    session: Session = ctx.obj
    wish = FineTuneWish(out=out, template=template, shape=shape, split=split, part=part, platform=platform)
    found = asyncio.run(filtered(session, folder, sieving, wish))
    for each in found:
        if each.no_finetune:
            session.say(f"No fine-tuning data for {each.dataset_key}: {each.no_finetune} For all of it: --split all")
    session.emit({"runs": found}, lambda: _filter_table(found))


@app.command("import")
@with_sieve_options
def import_(
    ctx: typer.Context,
    folder: Folder,
    name: Annotated[str, typer.Argument(help="The dataset's name.")],
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task. May be said again.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only this base model's completions.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Only these completions, e.g. zs_cot.")] = None,
    sieving: Sieving = WITHOUT_OPTIONS,
    weigh: Annotated[str, typer.Option("--weigh", help="What weighs 1: each rationale, or each question.")] = "rationale",
    template: TemplateName = None,
    shape: ShapeName = "decoder",
    train_on: Annotated[str, typer.Option("--train-on", help="text (what was said), thinking, or tagged (both).")] = "text",
    split: Annotated[str, typer.Option("--split", help="default or template.")] = "default",
    valid: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the training questions for the valid split.")] = 0.0,
    may_train: Annotated[str, typer.Option("--may-train", help="yes, or no with the reason: 'no: terms of service'.")] = "yes",
    json: JsonFlag = False,
) -> None:
    """A dataset version of the rationales that the filters keep; its test split is every test question with its gold answer."""
    from stillhouse.cli.sifting import ImportWish, imported

    session: Session = ctx.obj
    wish = ImportWish(
        name=name, tasks=tuple(task or ()), model=model, key=key, weigh=weigh, template=template, shape=shape, train_on=train_on,
        split=split, valid=valid, may_train=may_train,
    )  # fmt: skip
    dataset = asyncio.run(imported(session, folder, sieving, wish))
    removed = ", ".join(f"{count:,} {reason}" for reason, count in dataset.removed.items()) or "nothing"
    session.say(f"Dataset {dataset.name} {dataset.fingerprint[:19]}: {dataset.counts}. Put aside: {removed}.")
    session.emit(dataset)


@app.command()
def export(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="name, name@version or fingerprint.")],
    out: Annotated[Path, typer.Option("--out", help="A folder; the paper's layout is made in it.")],
    json: JsonFlag = False,
) -> None:
    """A dataset version in the paper's files; rows that came from such files leave as they came."""
    from stillhouse.jobs.rationale_versions import export_version

    session: Session = ctx.obj
    files = [str(path) for path in export_version(session.workspace, session.workspace.dataset(dataset), out)]
    session.emit({"files": files})


@app.command()
def generate(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(help="A folder in the paper's layout, its Dataset file, a dataset, or a file of questions.")
    ],
    model: Annotated[str, typer.Option("--model", help="The teacher: an upstream's model, an alias, or a local model.")],
    to: Annotated[Path, typer.Option("--to", help="The folder that gets completion_data/ in the paper's layout.")],
    method: Annotated[
        str,
        typer.Option("--method", help="chat, plain, zs_cot, zs_cot_long, fs_cot, zs; of a student: ft_cot_token, ..."),
    ] = "chat",
    task: Annotated[str | None, typer.Option("--task", help="Which task of the folder; or the name of one's own.")] = None,
    answers: Answers = None,
    samples: Annotated[int, typer.Option("-d", "--rationales", min=1, help="Rationales a question.")] = 1,
    temperature: Annotated[
        str, typer.Option(help="Of the reasoning. auto: 0 for one rationale, 0.7 for several. none: not sent.")
    ] = "auto",
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Of the reasoning. Default: 128, zs_cot_long 512, chat no limit.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Every rationale of every question is sent a seed drawn by this one.")] = None,
    asks: Annotated[
        str, typer.Option("--asks", help="The second step: paper ('the answer is') or task ('... (arabic numerals) is').")
    ] = "paper",
    examples: Annotated[Path | None, typer.Option("--examples", help="fs_cot: the paper's prompts file, or a text.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Only the questions of this split, e.g. default.")] = None,
    part: Annotated[str, typer.Option("--part", help="... and of this part of it.")] = "train",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The completion key. Default: the method.")] = None,
    finetune_key: Annotated[str | None, typer.Option("--finetune-key", help="Of a student: what it was fine-tuned on.")] = None,
    shape: ShapeName = "decoder",
    concurrency: Annotated[int, typer.Option(min=1, help="At most so many requests at a time.")] = 8,
    budget_calls: budget_options.Calls = None,
    budget_tokens: budget_options.Tokens = None,
    budget_cost: budget_options.Cost = None,
    json: JsonFlag = False,
) -> None:
    """Ask a teacher to explain. Every answer is on disk as it comes; what is there is not asked for again."""
    from stillhouse.apply import Budget
    from stillhouse.cli.generating import generated, method_of
    from stillhouse.jobs.rationales import Wish

    session: Session = ctx.obj
    way = method_of(method, samples, temperature, max_tokens, seed, asks, examples, task or Path(source).stem, shape)
    wish = Wish(
        source=source, model=model, to=to, task=task, answers=answers, split=split, part=part, limit=limit, key=key,
        finetune_key=finetune_key, method=way, concurrency=concurrency,
        budget=Budget(calls=budget_calls, tokens=budget_tokens, cost=budget_cost),
    )  # fmt: skip
    generated(session, wish)


@app.command()
def prepare(
    ctx: typer.Context,
    to: Annotated[Path, typer.Option("--to", help="The folder that gets dataset/ and split/ in the paper's layout.")],
    source: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Where the task's files were downloaded to. Without: generated.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="Which. Default: every one whose files are there.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Of a generated task: so many questions.")] = 500,
    seed: Annotated[int, typer.Option(help="Of a generated task.")] = 0,
    json: JsonFlag = False,
) -> None:
    """The twelve tasks' original files, or the two generated ones, as the paper's Dataset and default split."""
    from stillhouse.cli.generating import prepared

    session: Session = ctx.obj
    found = prepared(session, source, tuple(task or ()), to, count, seed)
    table = new_table("task", ">questions", ">train", ">test", ">the paper has")
    for each in found:
        table.add_row(each.dataset_key, *(f"{number:,}" for number in (each.questions, each.train, each.test, each.expected)))
    session.emit({"tasks": found}, lambda: table)


@app.command()
def report(
    ctx: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders in the paper's layout, stored reports (id or name), files of measures (JSON lines)."),
    ],
    rule: RuleOption = "numeric",
    answers: Answers = None,
    split: Annotated[str, typer.Option("--split", help="Of folders: the split whose test questions count.")] = "default",
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw accuracy into this file.")] = None,
    over: Annotated[str, typer.Option("--over", help="What the plot's axis is: d (rationales a question) or size.")] = "d",
    json: JsonFlag = False,
) -> None:
    """Task by task: teacher, student, answer-only, few-shot, majority, random, each with its 95 % interval; and a plot."""
    from stillhouse.cli.standing_table import reported

    reported(ctx.obj, sources, rule_of(rule), split, answers, svg, over)


@app.command()
def templates(ctx: typer.Context, shape: ShapeName = "decoder", json: JsonFlag = False) -> None:
    """What each template asks and teaches."""
    from stillhouse.cli.sifting import shown_templates

    session: Session = ctx.obj
    found = shown_templates(shape)
    table = new_table("template", "asks", "teaches")
    for each in found:
        table.add_row(each["name"], repr(each["prompt"]), repr(each["target"]) if each["target"] else "-")
    session.emit(found, lambda: table)


def _warn(session: Session, score: Score) -> None:
    if score.gold_from == "completions":
        session.say(f"{score.file}: no dataset/{score.dataset_key}.json with these questions; its rows' own right answers count.")
    elif score.strangers:
        session.say(f"{score.file}: {score.strangers} rows ask what the dataset does not; their own right answers count.")
    if score.incomplete:
        session.say(f"{score.file}: {score.incomplete} rows have no answer yet and are not counted.")


def _score_table(scores: list[Score]) -> Table:
    table = new_table("task", "model", "completions", ">n", ">correct", ">accuracy %", ">majority %", ">no candidate")
    for each in scores:
        key = each.completion_key if each.finetune_key is None else f"{each.completion_key}, {each.finetune_key}"
        majority = "-" if each.majority is None else f"{each.majority:.2f}"
        figures = (f"{each.n:,}", f"{each.correct:,}", f"{each.accuracy:.2f}", majority, f"{each.no_candidate:,}")
        table.add_row(each.dataset_key, each.base_model, key, *figures)
    return table


def _filter_table(runs: list[Filtered]) -> Table:
    table = new_table("task", "completions", ">n", ">kept", ">questions", "put aside", ">fine-tuning lines")
    for each in runs:
        aside = ", ".join(f"{count:,} {reason}" for reason, count in each.put_aside.items()) or "-"
        lines = "-" if each.finetune_file is None else f"{each.finetune_lines:,}"
        table.add_row(each.dataset_key, each.completion_key, f"{each.n:,}", f"{each.kept:,}", f"{each.questions:,}", aside, lines)
    return table
