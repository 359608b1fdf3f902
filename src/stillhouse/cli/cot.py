"""`stillhouse cot`: chains of thought: scored, filtered, generated, brought in and taken out in the paper's own files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table
from stillhouse.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.curation.rationales import Rule, Score
    from stillhouse.curation.rationales.filtering import Filtered

app = typer.Typer(no_args_is_help=True)

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="Holds completion_data/ and dataset/, or saved/ and data/ with them; or one completion file."
    ),
]
RuleOption = Annotated[
    str, typer.Option("--rule", help="numeric: numbers as numbers. published: as a string, as Kojima et al. 2022 do.")
]
Answers = Annotated[
    str | None,
    typer.Option("--answers", metavar="TYPE", help="For tasks that are none of the twelve: number, choice:A-D, yes_no, ..."),
]


@app.command()
def score(
    ctx: typer.Context, folder: Folder, rule: RuleOption = "numeric", answers: Answers = None, json: JsonFlag = False
) -> None:
    """How many completions come to the right answer, a run a file; every answer is extracted from the text anew."""
    from stillhouse.curation.rationales import read_folder
    from stillhouse.curation.rationales import score as score_

    session: Session = ctx.obj
    found = [score_(reading, _rule(rule)) for reading in read_folder(folder, answers=answers)]
    for each in found:
        _warn(session, each)
    session.emit({"rule": rule, "runs": found}, lambda: _score_table(found))


@app.command("filter")
def filter_(
    ctx: typer.Context,
    folder: Folder,
    rule: RuleOption = "numeric",
    answers: Answers = None,
    by: Annotated[
        str, typer.Option("--by", help="right: the gold answer. vote: the majority's, without one. any: neither.")
    ] = "right",
    vote_share: Annotated[
        float, typer.Option(min=0, max=1, help="With --by vote: of a question's answers, more than so many.")
    ] = 0.0,
    grader: Annotated[str | None, typer.Option("--grader", help="A grader by name decides too, e.g. a judge.")] = None,
    min_chars: Annotated[int, typer.Option(min=0, help="Shortest reasoning.")] = 0,
    max_chars: Annotated[int | None, typer.Option(min=1, help="Longest reasoning.")] = None,
    duplicates: Annotated[bool, typer.Option("--drop-duplicates", help="Of equal reasoning to a question one stays.")] = False,
    near: Annotated[float | None, typer.Option("--near-duplicates", min=0, max=1, help="And of reasoning so similar.")] = None,
    truncated: Annotated[bool, typer.Option("--drop-truncated", help="Reasoning that a token limit cut off goes.")] = False,
    leaked: Annotated[bool, typer.Option("--drop-leaked", help="Questions that say their answer go.")] = False,
    d: Annotated[int | None, typer.Option("-d", "--rationales", min=1, help="At most so many a question.")] = None,
    choose: Annotated[str, typer.Option("--choose", help="Which: first, random or different.")] = "first",
    seed: Annotated[int, typer.Option("--seed", help="Of --choose random.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write there what is kept and what is put aside.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="Fine-tuning data too: ft_cot_token, ...")] = None,
    shape: Annotated[str, typer.Option("--shape", help="The template's: decoder, encoder_decoder or gpt3.")] = "decoder",
    split: Annotated[str, typer.Option("--split", help="Fine-tuning data of this split: default, template, or all.")] = "default",
    part: Annotated[str, typer.Option("--part", help="... and of this part of it.")] = "train",
    platform: Annotated[str, typer.Option("--platform", help="openai: JSON lines that end in END. Any other: lists.")] = "openai",
    json: JsonFlag = False,
) -> None:
    """Which rationales to learn from: kept, or put aside with the reason; by default those with the right answer are kept."""
    from stillhouse.cli.sifting import Wish, filtered

    session: Session = ctx.obj
    wish = Wish(
        rule=_rule(rule), answers=answers, by=by, vote_share=vote_share, grader=grader, min_chars=min_chars, max_chars=max_chars,
        duplicates=duplicates, near=near, truncated=truncated, leaked=leaked, d=d, choose=choose, seed=seed, out=out,
        template=template, shape=shape, split=split, part=part, platform=platform,
    )  # fmt: skip
    found = asyncio.run(filtered(session, folder, wish))
    for each in found:
        if each.no_finetune:
            session.say(f"No fine-tuning data for {each.dataset_key}: {each.no_finetune} For all of it: --split all")
    session.emit({"runs": found}, lambda: _filter_table(found))


def _rule(rule: str) -> Rule:
    from stillhouse.curation.rationales import RULES

    for known in RULES:
        if rule == known:
            return known
    raise UsageError(f"There is no rule '{rule}'. There are: {', '.join(RULES)}.")


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
