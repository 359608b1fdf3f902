"""`stillhouse completions`: what passed through the gateway and was kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from stillhouse.cli import filters
from stillhouse.cli.output import JsonFlag, Session, new_table, when
from stillhouse.errors import ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from stillhouse.completion import Completion, CompletionQuery
    from stillhouse.stores.base import CompletionStore

app = typer.Typer(no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", min=1, help="Newest so many.")]
CHUNK = 500


@app.command("list")
def list_(
    ctx: typer.Context,
    model: filters.Model = None,
    metadata: filters.Metadata = None,
    since: filters.Since = None,
    until: filters.Until = None,
    finish_reason: filters.FinishReason = None,
    text: filters.WithText = None,
    tag: filters.Tag = None,
    any_state: filters.AnyState = False,
    limit: Limit = 20,
    json: JsonFlag = False,
) -> None:
    """Completions, newest first; by default only those that are whole."""
    query = filters.completion_query(model, metadata, since, until, finish_reason, text, tag, any_state=any_state)
    _emit_page(ctx.obj, query, limit)


@app.command()
def search(
    ctx: typer.Context,
    words: Annotated[str, typer.Argument(help="Words in question or answer; Chinese too.")],
    model: filters.Model = None,
    metadata: filters.Metadata = None,
    any_state: filters.AnyState = False,
    limit: Limit = 20,
    json: JsonFlag = False,
) -> None:
    """Completions that hold these words, newest first."""
    _emit_page(ctx.obj, filters.completion_query(model, metadata, text=words, any_state=any_state), limit)


@app.command()
def show(ctx: typer.Context, completion: str, json: JsonFlag = False) -> None:
    """One exchange whole: the record, what was asked, what came back."""
    from stillhouse.transcript import assemble, prompt_messages

    session: Session = ctx.obj
    store = session.workspace.store
    found, payload = store.completion(completion), store.payload(completion)
    if found is None or payload is None:
        raise NotFoundError(f"There is no completion '{completion}'. See what there is with: stillhouse completions list")
    messages = prompt_messages(payload.request)
    response = assemble(payload.response or b"", found.stream)
    value = {"completion": found, "messages": messages, "response": response}
    session.emit(value, lambda: _exchange_table(found, messages, response))


@app.command()
def tag(
    ctx: typer.Context,
    add: Annotated[list[str] | None, typer.Option("--add", help="Again for more.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="Again for more.")] = None,
    completion: Annotated[list[str] | None, typer.Option("--id", help="These, and no filter.", show_default=False)] = None,
    model: filters.Model = None,
    metadata: filters.Metadata = None,
    since: filters.Since = None,
    until: filters.Until = None,
    finish_reason: filters.FinishReason = None,
    text: filters.WithText = None,
    json: JsonFlag = False,
) -> None:
    """Add or remove tags on what the filters (or --id) choose."""
    from stillhouse.stores.base import every

    session: Session = ctx.obj
    if not add and not remove:
        raise UsageError("Say what to change: --add TAG or --remove TAG.")
    store = session.workspace.store
    query = filters.completion_query(model, metadata, since, until, finish_reason, text)
    ids = completion or [found.id for found in every(store, query)]
    chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
    tagged = sum(store.tag_completions(chunk, add=add or (), remove=remove or ()).result() for chunk in chunks)
    session.emit({"tagged": tagged})


@app.command()
def export(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="A new file; without it, stdout.", show_default=False)] = None,
    model: filters.Model = None,
    metadata: filters.Metadata = None,
    since: filters.Since = None,
    until: filters.Until = None,
    finish_reason: filters.FinishReason = None,
    text: filters.WithText = None,
    tag: filters.Tag = None,
    json: JsonFlag = False,
) -> None:
    """Whole exchanges as JSON lines; `stillhouse import jsonl` reads them back."""
    session: Session = ctx.obj
    store = session.workspace.store
    query = filters.completion_query(model, metadata, since, until, finish_reason, text, tag)
    if out is None:
        _write_exchanges(store, query, sys.stdout.buffer)
        return
    try:
        with out.open("xb") as file:
            count = _write_exchanges(store, query, file)
    except FileExistsError:
        raise ConflictError(f"{out} exists already. Choose another file, or remove it.") from None
    session.emit({"file": str(out), "completions": count})


@app.command()
def purge(
    ctx: typer.Context,
    model: filters.Model = None,
    metadata: filters.Metadata = None,
    since: filters.Since = None,
    until: filters.Until = None,
    finish_reason: filters.FinishReason = None,
    text: filters.WithText = None,
    tag: filters.Tag = None,
    any_state: filters.AnyState = False,
    everything: Annotated[bool, typer.Option("--all", help="No filter: all of them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say how many.")] = False,
    json: JsonFlag = False,
) -> None:
    """Delete what the filters choose, for good, in evals' runs too. What was made of them and stays is named."""
    from stillhouse.jobs.forgetting import forget
    from stillhouse.stores.base import every

    session: Session = ctx.obj
    if not everything and not any((model, metadata, since, until, finish_reason, text, tag)):
        raise UsageError("Say which: a filter (--until 90d, --metadata user=7, ...), or --all.")
    store = session.workspace.store
    query = filters.completion_query(model, metadata, since, until, finish_reason, text, tag, any_state=any_state or everything)
    ids = [found.id for found in every(store, query)]
    if not yes:
        session.say(f"{len(ids):,} completions would be deleted. Add --yes to do it.")
    forgotten = forget(store, session.workspace.settings, ids if yes else [])
    for kept in forgotten.kept_in:
        session.say(f"Made of some of them, and kept: {kept.said}")
    session.emit({"chosen": len(ids), **forgotten.model_dump(mode="json")})


def _emit_page(session: Session, query: CompletionQuery, limit: int) -> None:
    page = session.workspace.store.completions(query.model_copy(update={"limit": limit, "order": "desc"}))
    session.emit(page.items, lambda: _table(page.items))
    if page.has_more:
        session.say(f"There are more; these are the newest {limit}. Say --limit for more.")


def _table(completions: list[Completion]) -> Table:
    table = new_table("completion", "when", "model", "state", "ended", ">tokens", "metadata", "tags")
    for found in completions:
        tokens = "-" if found.completion_tokens is None else f"{(found.prompt_tokens or 0) + found.completion_tokens:,}"
        metadata = " ".join(f"{key}={value}" for key, value in found.metadata.items()) or "-"
        ended = found.finish_reason or found.error or "-"
        cells = (found.id, when(found.created), found.model, found.state, ended, tokens, metadata, " ".join(found.tags) or "-")
        table.add_row(*_plain(cells))
    return table


def _exchange_table(completion: Completion, messages: list[dict[str, object]], response: dict[str, object]) -> Table:
    from stillhouse.transcript import message_text

    table = new_table("", "", title=f"{completion.id} {completion.model} {completion.state} {when(completion.created)}")
    table.show_header = False
    for message in messages:
        table.add_row(*_plain((str(message.get("role", "")), message_text(message))))
    choices = response.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        table.add_row(*_plain((f"answer ({choice.get('finish_reason')})", message_text(choice.get("message") or {}))))
    return table


def _plain(cells: tuple[str, ...]) -> list[Text]:
    """Cells as they are: what people wrote is no markup."""
    from rich.text import Text

    return [Text(cell) for cell in cells]


def _write_exchanges(store: CompletionStore, query: CompletionQuery, file: BinaryIO) -> int:
    from stillhouse.formats.exchanges import exchange_line
    from stillhouse.stores.base import every

    count = 0
    for completion in every(store, query):
        payload = store.payload(completion.id)
        if payload is not None:
            file.write(exchange_line(completion, payload.request, payload.response or b""))
            count += 1
    file.flush()
    return count
