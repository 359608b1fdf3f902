"""`stillhouse distill`: the whole loop of one recipe, from data to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session
from stillhouse.cli.train import Allow, Changes

app = typer.Typer()


@app.command()
def distill(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="A TOML file; see recipes/.")],
    train: Annotated[str | None, typer.Option("--train", help="A file to learn from (CSV, chat JSONL, Parquet).")] = None,
    valid: Annotated[str | None, typer.Option("--valid", help="A file to measure the loss on while training.")] = None,
    test: Annotated[
        str | None, typer.Option("--test", help="A file to evaluate on; without one a share of --train or the dataset's own.")
    ] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="A dataset that is there already.")] = None,
    changes: Changes = None,
    allow: Allow = None,
    json: JsonFlag = False,
) -> None:
    """Data -> dataset -> student -> evaluation. Ctrl-C while it trains leaves the run going."""
    from stillhouse.cli.report_table import comparison_text, report_table
    from stillhouse.cli.watching import asking, watch_run
    from stillhouse.loop import Steps, with_data
    from stillhouse.loop import distill as distill_loop
    from stillhouse.recipe import load_recipe

    session: Session = ctx.obj
    wanted = with_data(load_recipe(recipe, changes or ()), train=train, valid=valid, test=test, dataset=dataset)
    with asking(session) as progress:
        steps = Steps(wait=lambda run_id: watch_run(session, run_id), say=session.say, allow=allow or (), progress=progress)
        result = distill_loop(session.workspace, wanted, steps)
    session.emit(result, lambda: report_table(result.report))
    if result.comparison is not None:
        session.say(comparison_text(result.comparison))
    session.say(f"Put it in the teacher's place:  stillhouse route set ALIAS --model {result.model.id}")
    session.say(f"See what it got wrong:          stillhouse eval failures {result.report.id}")
