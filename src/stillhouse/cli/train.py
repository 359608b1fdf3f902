"""`stillhouse train`: start a training run, watch it, stop it, take it up again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli.jobs import find, show_logs
from stillhouse.cli.output import JsonFlag, Session, new_table, plain, when
from stillhouse.cli.watching import show_end, watch_run
from stillhouse.errors import UsageError

app = typer.Typer(no_args_is_help=True)

Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a field: training.steps=50.")]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow-training", metavar="UPSTREAM", help="Train on its answers though its terms say no; kept in the model."),
]


@app.command("run")
def run_(
    ctx: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="A TOML file; see recipes/.")],
    dataset: Annotated[str | None, typer.Option("--dataset", help="Name, name@prefix or fingerprint; else the recipe's.")] = None,
    changes: Changes = None,
    allow: Allow = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and come back at once.")] = False,
    json: JsonFlag = False,
) -> None:
    """Start a run in a process of its own and watch it; Ctrl-C stops the watching, not the run.

    A teacher that a recipe of its own makes is trained first, and texts that [data.augment] asks for are made.
    """
    from stillhouse.jobs import queue
    from stillhouse.jobs.planning import plan_training
    from stillhouse.loop import Steps, prepare
    from stillhouse.recipe import load_recipe

    session: Session = ctx.obj
    wanted = load_recipe(recipe, changes or ())
    name = dataset or wanted.data.dataset
    if name is None:
        raise UsageError(f"{recipe} names no dataset: say --dataset NAME, or make one with it: stillhouse distill {recipe}")
    workspace = session.workspace
    steps = Steps(wait=lambda run_id: watch_run(session, run_id), say=session.say, allow=allow or ())
    wanted, data = prepare(workspace, wanted, workspace.dataset(name), steps)
    run = plan_training(workspace, wanted, data, allow=allow or ())
    submitted = queue.submit(workspace.store, workspace.settings, run)
    begun = queue.begin(workspace.store, workspace.settings, submitted)
    session.say(f"Run {run.id} has started." if begun else f"Run {run.id} is queued; the server starts it in its turn.")
    if detach:
        session.emit(workspace.store.run(run.id))
    else:
        show_end(session, watch_run(session, run.id))


@app.command("list")
def list_(ctx: typer.Context, json: JsonFlag = False) -> None:
    """Every training run, newest first; those whose process died are marked `interrupted` now."""
    from stillhouse.jobs.watch import settle_all

    session: Session = ctx.obj
    workspace = session.workspace
    runs = settle_all(workspace.store, workspace.settings.runs, "train")
    table = new_table("run", "recipe", "state", ">step", "started", "result")
    for run in runs:
        step = f"{run.step}/{run.steps}" if run.steps else str(run.step)
        outcome = plain(run.result.get("artifact") or run.error or "-")
        table.add_row(run.id, plain(run.name), run.state, step, when(run.started), outcome)
    session.emit(runs, lambda: table)


@app.command()
def watch(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """Follow a run to its end: a bar with loss and ETA, or with --json each event as a line and the run last."""
    session: Session = ctx.obj
    find(session, run)
    show_end(session, watch_run(session, run, lines=session.json), line=True)


@app.command()
def stop(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """Ask a run to stop after its current step; its checkpoint is kept and `resume` goes on from there."""
    from stillhouse.jobs import queue

    session: Session = ctx.obj
    asked = queue.pause(session.workspace.store, session.workspace.settings, find(session, run))
    session.say(f"Asked. Go on later with: stillhouse train resume {run}")
    session.emit(asked)


@app.command()
def resume(
    ctx: typer.Context,
    run: str,
    detach: Annotated[bool, typer.Option("--detach", help="Start it and come back at once.")] = False,
    json: JsonFlag = False,
) -> None:
    """Go on from the last checkpoint, to the same weights as without the interruption."""
    from stillhouse.jobs import queue

    session: Session = ctx.obj
    workspace = session.workspace
    queue.begin(workspace.store, workspace.settings, queue.resume(workspace.store, workspace.settings, find(session, run)))
    session.say(f"Run {run} goes on.")
    if detach:
        session.emit(workspace.store.run(run))
    else:
        show_end(session, watch_run(session, run))


@app.command()
def logs(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """What a run said (its events) and what its process printed."""
    session: Session = ctx.obj
    show_logs(session, run)
