"""`stillhouse route`: which model answers for a name. The client's code stays as it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.artifact import FINE_TUNED
from stillhouse.cli.output import JsonFlag, Session, new_table, when
from stillhouse.errors import ConflictError, NotFoundError
from stillhouse.shipped import BUILTIN, builtin_models

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.route import Route
    from stillhouse.stores.base import Store

app = typer.Typer(no_args_is_help=True)


@app.command("set")
def set_(
    ctx: typer.Context,
    alias: Annotated[str, typer.Argument(help="The name clients use; it may be a teacher's own.")],
    model: Annotated[str, typer.Option("--model", help="A student's id, or a model of an upstream.")],
    note: Annotated[str, typer.Option("--note", help="Why, for the history.")] = "",
    json: JsonFlag = False,
) -> None:
    """Let MODEL answer for ALIAS, from the next request on."""
    from stillhouse.route import Route

    session: Session = ctx.obj
    store = session.workspace.store
    _check_model(store, model)
    route = Route(alias=alias, model=model, created=int(time.time()), note=note)
    store.put_route(route).result()
    session.emit(route, lambda: _table([route]))
    session.say(f"To go back: stillhouse route rollback {alias}")


@app.command()
def show(
    ctx: typer.Context,
    alias: Annotated[str | None, typer.Argument(help="Its whole history; without, every alias as it is now.")] = None,
    json: JsonFlag = False,
) -> None:
    """What is in force, or one alias's history, newest first."""
    session: Session = ctx.obj
    store = session.workspace.store
    routes = store.routes() if alias is None else store.route_history(alias)
    if alias is not None and not routes:
        raise NotFoundError(f"There is no alias '{alias}'. There are: {_aliases(store)}.")
    session.emit(routes, lambda: _table(routes))


@app.command()
def rollback(ctx: typer.Context, alias: str, json: JsonFlag = False) -> None:
    """Give the alias back to the model before."""
    session: Session = ctx.obj
    store = session.workspace.store
    if not store.route_history(alias):
        raise NotFoundError(f"There is no alias '{alias}'. There are: {_aliases(store)}.")
    route = store.rollback_route(alias).result()
    if route is None:
        raise ConflictError(f"There is no earlier model for '{alias}'. Set one: stillhouse route set {alias} --model ID")
    session.emit(route, lambda: _table([route]))


def _check_model(store: Store, model: str) -> None:
    upstreams = store.upstreams()
    known = {name for upstream in upstreams for name in upstream.models} | {f"{BUILTIN}{each.name}" for each in builtin_models()}
    for artifact in store.artifacts():
        named = artifact.name is not None and artifact.name.startswith(FINE_TUNED)
        known |= {artifact.id, *([str(artifact.name)] if named else [])}
    if model not in known and all(upstream.models for upstream in upstreams):
        raise NotFoundError(f"There is no model '{model}'. There are: {', '.join(sorted(known)) or 'none'}.")


def _aliases(store: Store) -> str:
    return ", ".join(route.alias for route in store.routes()) or "none"


def _table(routes: list[Route]) -> Table:
    table = new_table("alias", "model", "since", "note")
    for route in routes:
        table.add_row(route.alias, route.model, when(route.created), route.note)
    return table
