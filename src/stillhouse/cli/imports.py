"""`stillhouse import`: completions that were collected elsewhere come into the store, as if they had passed through here.

From files of exchanges, from other tools' logs, or from an account, which also has files, evals and fine-tuning jobs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table
from stillhouse.errors import UsageError

if TYPE_CHECKING:
    from stillhouse.formats.base import Quarantined
    from stillhouse.formats.exchanges import Exchange
    from stillhouse.stores.base import CompletionStore

app = typer.Typer(no_args_is_help=True)

LogFile = Annotated[Path, typer.Argument(help="The exported file.")]
UpstreamOption = Annotated[str, typer.Option("--upstream", help="Who answered, where an entry does not say.")]
Terms = Annotated[str, typer.Option("--may-train", help="yes, or no with the reason: 'no: terms of service'.")]
IN_FLIGHT = 500
"""Rows whose writes are awaited together."""


@app.command()
def jsonl(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Lines of {request, response}, or of {messages} with the answer last.")],
    upstream: Annotated[str, typer.Option("--upstream", help="Who answered, where a line does not say.")] = "import",
    model: Annotated[str, typer.Option("--model", help="Which model, where a line does not say.")] = "unknown",
    may_train: Terms = "yes",
    json: JsonFlag = False,
) -> None:
    """Keep the exchanges of a file. Reading it again adds nothing; a bad line is put aside with its reason."""
    from stillhouse.formats.exchanges import Origin, read_exchanges

    session: Session = ctx.obj
    terms = {known.name: known.may_train for known in session.workspace.store.upstreams()}
    origin = Origin(upstream=upstream, model=model, may_train=terms.get(upstream, _terms(may_train)))
    _keep_all(session, read_exchanges(file, origin))


@app.command()
def openai(
    ctx: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="files, completions, evals, jobs; all where none is named.")
    ] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Another server that speaks the API.")] = None,
    api_key_env: Annotated[str, typer.Option("--api-key-env", help="Where the account's key stands.")] = "OPENAI_API_KEY",
    may_train: Terms = "yes",
    json: JsonFlag = False,
) -> None:
    """Bring an account's files, stored completions, evals with their runs, and fine-tuning jobs here. Again: only what is new."""
    from stillhouse.formats.exchanges import Origin
    from stillhouse.rescue import RESOURCES, Account, Place, bring
    from stillhouse.rescue.bringing import counts

    session: Session = ctx.obj
    unknown = sorted(set(only or ()) - set(RESOURCES))
    if unknown:
        raise UsageError(f"--only takes {', '.join(RESOURCES)}; got {', '.join(unknown)}.")
    account = Account.open(base_url, os.environ.get(api_key_env))
    place = Place(session.workspace.store, session.workspace.settings, Origin("openai", "unknown", _terms(may_train)))
    wanted = tuple(name for name in RESOURCES if not only or name in only)
    tallies = list(bring(account, place, wanted, session.say))
    table = new_table("what", ">imported", ">known already", ">put aside")
    for tally in tallies:
        table.add_row(tally.resource, *(f"{count:,}" for count in (tally.imported, tally.known, len(tally.aside))))
    session.emit(counts(tallies), lambda: table)


@app.command()
def langfuse(
    ctx: typer.Context, file: LogFile, upstream: UpstreamOption = "langfuse", may_train: Terms = "yes", json: JsonFlag = False
) -> None:
    """Generations of a Langfuse export (JSON, or JSON lines of observations)."""
    _log(ctx, "langfuse", file, upstream, may_train)


@app.command()
def litellm(
    ctx: typer.Context, file: LogFile, upstream: UpstreamOption = "litellm", may_train: Terms = "yes", json: JsonFlag = False
) -> None:
    """LiteLLM's spend logs (JSON or JSON lines), where the proxy kept prompts."""
    _log(ctx, "litellm", file, upstream, may_train)


@app.command()
def promptfoo(
    ctx: typer.Context, file: LogFile, upstream: UpstreamOption = "promptfoo", may_train: Terms = "yes", json: JsonFlag = False
) -> None:
    """Results of Promptfoo (`promptfoo eval -o results.json`), tagged `passed` or `failed`."""
    _log(ctx, "promptfoo", file, upstream, may_train)


def _log(ctx: typer.Context, tool: str, file: Path, upstream: str, may_train: str) -> None:
    from stillhouse.formats.exchanges import LOGS, Origin
    from stillhouse.formats.exchanges.entries import read_log

    _keep_all(ctx.obj, read_log(file, LOGS.resolve(tool), Origin(upstream, "unknown", _terms(may_train))))


def _keep_all(session: Session, rows: Iterable[tuple[int, Exchange] | Quarantined]) -> None:
    """Keep what was read, a group at a time, and say how it went."""
    from stillhouse.formats.base import Quarantined

    store = session.workspace.store
    aside: list[Quarantined] = []
    waiting: list[Exchange] = []
    lines = imported = 0
    for lines, found in enumerate(rows, start=1):  # noqa: B007  (counted, and used after the loop)
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


def _terms(may_train: str) -> str:
    if may_train != "yes" and not may_train.startswith("no: "):
        raise UsageError(f"--may-train is 'yes', or 'no: ' and the reason; got '{may_train}'.")
    return may_train


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
