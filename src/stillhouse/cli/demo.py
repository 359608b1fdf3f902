"""`stillhouse demo`: the whole loop, offline, in about seven minutes. What it does stands in `stillhouse.demo`."""

from __future__ import annotations

import asyncio
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session
from stillhouse.errors import MissingExtraError, UsageError

app = typer.Typer()

Hidden = Annotated[int | None, typer.Option(hidden=True, min=1)]


@app.command()
def demo(
    ctx: typer.Context,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", metavar="MODEL", help="A model of an API instead of the one that comes along."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Of that API; its key is read from $OPENAI_API_KEY.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="A task, for the teacher; fewer cost less and teach less.", show_default=False)
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Answers a question.", show_default=False)] = None,
    unseen: Hidden = None,
    steps: Hidden = None,
    json: JsonFlag = False,
) -> None:
    """A teacher that reasons, its answers captured, a student trained on them, measured, and put in the teacher's place.

    Real at every step: the server, the official openai SDK, the dataset, two training runs, the evaluation, the route. Without
    options it needs no key, no GPU and no network. Everything lies in a temporary folder, or in the one --data-dir names.
    """
    from stillhouse.demo.screen import Screen
    from stillhouse.demo.size import Size
    from stillhouse.demo.tour import tour

    session: Session = ctx.obj
    _check(teacher, base_url)
    given = {"questions": questions, "samples": samples, "unseen": unseen, "steps": steps}
    size = Size().model_copy(update={name: value for name, value in given.items() if value is not None})
    if teacher is not None:
        size = size.model_copy(update={"temperature": None})  # an API's own default: some models refuse any other
    inner = Session(data_dir=session.data_dir or Path(tempfile.mkdtemp(prefix="stillhouse-demo-")), quiet=session.quiet)
    ctx.call_on_close(inner.close)
    result = asyncio.run(tour(inner.workspace, Screen(inner), size, teacher, base_url))
    session.emit(result, result.table)
    for line in result.commands():
        session.say(line)


def _check(teacher: str | None, base_url: str | None) -> None:
    if (teacher is None) != (base_url is None):
        raise UsageError("--teacher and --base-url go together: --teacher gpt-4o --base-url https://api.openai.com/v1")
    for module in ("openai", "torch", "transformers"):
        if find_spec(module) is None:
            raise MissingExtraError("The demo", module, "demo")
