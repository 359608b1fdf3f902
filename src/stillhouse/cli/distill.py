"""`stillhouse distill`: the whole loop of one recipe, from data to a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session
from stillhouse.cli.train import Allow, Changes

if TYPE_CHECKING:
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
    from stillhouse.cli.report_table import report_table
    from stillhouse.cli.watching import asking, watch_run
    from stillhouse.loop import Steps
    from stillhouse.loop import distill as distill_loop
    from stillhouse.recipe import load_recipe

    session: Session = ctx.obj
    wanted = _with_data(load_recipe(recipe, changes or ()), train, valid, test, dataset)
    with asking(session) as progress:
        steps = Steps(wait=lambda run_id: watch_run(session, run_id), say=session.say, allow=allow or (), progress=progress)
        result = distill_loop(session.workspace, wanted, steps)
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
