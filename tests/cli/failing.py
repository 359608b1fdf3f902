"""A noun whose verbs end in every way a verb can end."""

from __future__ import annotations

import typer

from stillhouse import errors
from stillhouse.cli.output import JsonFlag, Session, new_table
from stillhouse.route import Route

app = typer.Typer(no_args_is_help=True)

ROUTE = Route(alias="my-task", model="student-1", created=1, note="你好")


@app.command()
def error(kind: str) -> None:
    """Raise an error of the tree."""
    failures: dict[str, BaseException] = {
        "UpstreamError": errors.UpstreamError("no answer"),
        "OverloadedError": errors.OverloadedError("full", retry_after=1),
        "MissingExtraError": errors.MissingExtraError("This", "torch", "train"),
        "KeyboardInterrupt": KeyboardInterrupt(),
    }
    raise failures[kind] if kind in failures else getattr(errors, kind)("it is so")


@app.command()
def record() -> None:
    """Make a record that cannot be."""
    Route(alias="../x", model="m", created=1)


@app.command()
def gate() -> None:
    """A quality gate that is not met."""
    raise typer.Exit(3)


@app.command()
def show(ctx: typer.Context, json: JsonFlag = False) -> None:
    """Talk, and a result."""
    session: Session = ctx.obj
    session.say("about to show")
    table = new_table("alias", ">created")
    table.add_row(ROUTE.alias, "1")
    session.emit([ROUTE], lambda: table)


@app.command()
def half(ctx: typer.Context, json: JsonFlag = False) -> None:
    """A result that holds half a surrogate pair, as prompts may: whole, and as the line of a stream."""
    session: Session = ctx.obj
    text = "cut \ud83d"
    table = new_table("text")
    table.add_row(text)
    session.emit_line({"text": text}, text)
    session.emit({"text": text}, lambda: table)


@app.command()
def plain(ctx: typer.Context, json: JsonFlag = False) -> None:
    """A result without a table of its own."""
    ctx.obj.emit(ROUTE)
