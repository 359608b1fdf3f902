"""`stillhouse distill`: the whole loop of one recipe, from data to a report."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table
from stillhouse.cli.train import Allow, Changes

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.grade import Report
    from stillhouse.recipe import Recipe

app = typer.Typer()


@app.command()
def distill(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="A TOML file; see recipes/.")],
    train: Annotated[str | None, typer.Option("--train", help="A file to learn from (CSV, chat JSONL, Parquet).")] = None,
    valid: Annotated[str | None, typer.Option("--valid", help="A file to measure the loss on while training.")] = None,
    test: Annotated[str | None, typer.Option("--test", help="A file to evaluate on; without one a share of --train.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="A dataset that is there already.")] = None,
    changes: Changes = None,
    allow: Allow = None,
    json: JsonFlag = False,
) -> None:
    """Data -> dataset -> student -> evaluation. Ctrl-C while it trains leaves the run going."""
    from stillhouse.cli.watching import watch_run
    from stillhouse.loop import Steps
    from stillhouse.loop import distill as distill_loop
    from stillhouse.recipe import load_recipe

    session: Session = ctx.obj
    wanted = _with_data(load_recipe(recipe, changes or ()), train, valid, test, dataset)
    steps = Steps(wait=lambda run_id: watch_run(session, run_id), say=session.say, allow=tuple(allow or ()))
    result = asyncio.run(distill_loop(session.workspace, wanted, steps))
    session.emit(result, lambda: report_table(result.report))
    session.say(f"Put it in the teacher's place:  stillhouse route set ALIAS --model {result.model.id}")
    session.say(f"See what it got wrong:          stillhouse eval failures {result.report.id}")


def _with_data(recipe: Recipe, train: str | None, valid: str | None, test: str | None, dataset: str | None) -> Recipe:
    """Files or a dataset named on the command line replace where the recipe takes its data from."""
    changes = {"train": train, "valid": valid, "test": test, "dataset": dataset}
    if not any(changes.values()):
        return recipe
    data = recipe.data.model_copy(update={**changes, "completions": None})
    return recipe.model_copy(update={"data": data})


def report_table(report: Report) -> Table:
    """One row a model: accuracy by grader with its 95 % interval, agreement with the teacher, latency, size."""
    graders = [f">{grader} (95 %)" for grader in report.graders]
    table = new_table("role", "model", *graders, ">agrees", ">p50 ms", ">p95 ms", ">parameters", ">bytes", title=report.name)
    for result in report.results:
        shares = [result.accuracy[grader] for grader in report.graders]
        table.add_row(
            result.role,
            result.model,
            *(f"{share.value:.1%} ({share.low:.1%}-{share.high:.1%})" for share in shares),
            _number(result.agreement, ".1%"),
            _number(result.latency_p50_ms, ".1f"),
            _number(result.latency_p95_ms, ".1f"),
            _number(result.parameters, ","),
            _number(result.size_bytes, ","),
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
