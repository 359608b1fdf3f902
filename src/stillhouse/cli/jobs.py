"""`stillhouse jobs`: every run that was ever asked for, of any kind: what waits, what goes on, what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table, plain, when
from stillhouse.cli.watching import line_of

if TYPE_CHECKING:
    from stillhouse.run import Run

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option("--kind", help="train, eval, ...; else every kind.")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", help="queued, running, ...; may be said several times.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="The newest so many.", min=1)] = 100,
    json: JsonFlag = False,
) -> None:
    """Every run, newest first; those whose process died are marked now."""
    from stillhouse.jobs.queue import list_runs

    session: Session = ctx.obj
    workspace = session.workspace
    runs = list_runs(workspace.store, workspace.settings, kind=kind, states=state or (), limit=limit)
    table = new_table("run", "kind", "name", "state", ">priority", "takes", ">step", "started", "result")
    for run in runs:
        step = f"{run.step}/{run.steps}" if run.steps else str(run.step)
        outcome = plain(", ".join(str(value) for value in run.result.values()) or run.error or "-")
        cells = (run.id, run.kind, plain(run.name), run.state, str(run.priority), run.resource, step, when(run.started))
        table.add_row(*cells, outcome)
    session.emit(runs, lambda: table)


@app.command()
def show(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """Everything that is known of one run."""
    session: Session = ctx.obj
    session.emit(find(session, run))


@app.command()
def logs(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """What a run said (its events) and what its process printed."""
    session: Session = ctx.obj
    show_logs(session, run)


@app.command()
def cancel(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """End a run for good: at once if it waits, after its current step if it works. Nothing comes of it any more."""
    from stillhouse.jobs import queue

    session: Session = ctx.obj
    session.emit(queue.cancel(session.workspace.store, session.workspace.settings, find(session, run)))


@app.command()
def pause(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """Stop a run after its current step, or keep it from starting; `resume` goes on from what is done."""
    from stillhouse.jobs import queue

    session: Session = ctx.obj
    session.emit(queue.pause(session.workspace.store, session.workspace.settings, find(session, run)))


@app.command()
def resume(ctx: typer.Context, run: str, json: JsonFlag = False) -> None:
    """Queue a paused, stopped, interrupted or failed run again. Without a server it starts at once."""
    from stillhouse.jobs import queue

    session: Session = ctx.obj
    workspace = session.workspace
    resumed = queue.resume(workspace.store, workspace.settings, find(session, run))
    queue.begin(workspace.store, workspace.settings, resumed)
    session.emit(workspace.store.run(run))


@app.command(context_settings={"ignore_unknown_options": True})
def priority(
    ctx: typer.Context,
    run: str,
    number: Annotated[int, typer.Argument(help="Higher ones are started first; a run begins with 0.")],
    json: JsonFlag = False,
) -> None:
    """Change a run's place in the queue."""
    from stillhouse.jobs import queue

    session: Session = ctx.obj
    session.emit(queue.prioritise(session.workspace.store, find(session, run), number))


def find(session: Session, run_id: str) -> Run:
    """The run as it stands, a dead one settled. Raises NotFoundError."""
    from stillhouse.jobs.queue import find_run
    from stillhouse.jobs.watch import settle

    workspace = session.workspace
    return settle(workspace.store, find_run(workspace.store, run_id), workspace.settings.runs)


def show_logs(session: Session, run_id: str) -> None:
    """What it said, line by line, then what its process printed."""
    from stillhouse.jobs.journal import LOG

    workspace = session.workspace
    find(session, run_id)
    log = workspace.settings.runs / run_id / LOG
    printed = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    events = workspace.store.events(run_id)
    if session.json:
        session.emit({"events": events, "printed": printed})
        return
    for event in events:
        print(line_of(event))
    if printed:
        print(f"\nPrinted by its process:\n{printed}", end="")
