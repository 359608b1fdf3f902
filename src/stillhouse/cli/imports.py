"""`stillhouse import`: completions that were collected elsewhere come into the store, as if they had passed through here.

`jsonl` is there; the log formats of other tools come with a later version, and say so.
"""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table
from stillhouse.errors import UsageError

if TYPE_CHECKING:
    from stillhouse.formats.base import Quarantined
    from stillhouse.formats.exchanges import Exchange
    from stillhouse.stores.base import CompletionStore

app = typer.Typer(no_args_is_help=True)

IN_FLIGHT = 500
"""Rows whose writes are awaited together."""


@app.command()
def jsonl(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Lines of {request, response}, or of {messages} with the answer last.")],
    upstream: Annotated[str, typer.Option("--upstream", help="Who answered, where a line does not say.")] = "import",
    model: Annotated[str, typer.Option("--model", help="Which model, where a line does not say.")] = "unknown",
    may_train: Annotated[str, typer.Option("--may-train", help="yes, or no with the reason: 'no: terms of service'.")] = "yes",
    json: JsonFlag = False,
) -> None:
    """Keep the exchanges of a file. Reading it again adds nothing; a bad line is put aside with its reason."""
    from stillhouse.formats.base import Quarantined
    from stillhouse.formats.exchanges import Origin, read_exchanges

    session: Session = ctx.obj
    if may_train != "yes" and not may_train.startswith("no: "):
        raise UsageError(f"--may-train is 'yes', or 'no: ' and the reason; got '{may_train}'.")
    store = session.workspace.store
    terms = {known.name: known.may_train for known in store.upstreams()}
    origin = Origin(upstream=upstream, model=model, may_train=terms.get(upstream, may_train))
    aside: list[Quarantined] = []
    waiting: list[Exchange] = []
    lines = imported = 0
    for lines, found in enumerate(read_exchanges(file, origin), start=1):  # noqa: B007  (counted, and used after the loop)
        if isinstance(found, Quarantined):
            aside.append(found)
            session.say(f"Put aside: line {found.line}: {found.reason}.")
        else:
            waiting.append(found[1])
        if len(waiting) == IN_FLIGHT:
            imported += _keep(store, waiting)
            waiting = []
    imported += _keep(store, waiting)
    known = lines - len(aside) - imported
    table = new_table(">lines", ">imported", ">known already", ">put aside")
    table.add_row(*(f"{count:,}" for count in (lines, imported, known, len(aside))))
    session.emit({"lines": lines, "imported": imported, "known": known, "quarantined": aside}, lambda: table)


@app.command()
def openai(ctx: typer.Context) -> None:
    """Stored completions of an OpenAI account (a later version)."""
    _not_yet("OpenAI's Stored Completions", "save them as JSON lines of {request, response}")


@app.command()
def langfuse(ctx: typer.Context) -> None:
    """Traces of Langfuse (a later version)."""
    _not_yet("Langfuse traces", "export them as JSON lines and bring each into the form {request, response}")


@app.command()
def litellm(ctx: typer.Context) -> None:
    """Spend logs of LiteLLM (a later version)."""
    _not_yet("LiteLLM logs", "export them as JSON lines and bring each into the form {request, response}")


@app.command()
def promptfoo(ctx: typer.Context) -> None:
    """Tests and results of Promptfoo (a later version)."""
    _not_yet("Promptfoo files", "write questions and right answers as CSV: stillhouse dataset import NAME FILE.csv")


def _keep(store: CompletionStore, exchanges: list[Exchange]) -> int:
    """Keep those that are not there yet, durably; how many that were."""
    kept = {e.completion.id for e in exchanges if (row := store.completion(e.completion.id)) and row.state == "complete"}
    fresh = {e.completion.id: e for e in exchanges if e.completion.id not in kept}
    writes: list[Future[None]] = []
    for completion, request, response in fresh.values():
        writes.append(store.begin_completion(completion.model_copy(update={"state": "started"}), request))
        writes.append(store.finish_completion(completion, response))
    for write in writes:
        write.result()
    return len(fresh)


def _not_yet(what: str, today: str) -> NoReturn:
    raise UsageError(f"Importing {what} comes with a later version. Today: {today}, then: stillhouse import jsonl FILE")
