"""`stillhouse signals`: what teachers said, kept on disk: listed, checked, taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table, plain, when

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.signals import Cached

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(ctx: typer.Context, json: JsonFlag = False) -> None:
    """Every teacher's cache, newest first."""
    from stillhouse.signals import caches

    session: Session = ctx.obj
    found = caches(session.workspace.settings.signals)
    session.emit(found, lambda: _table(found))


@app.command()
def verify(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A cache's name, or how it begins.")],
    json: JsonFlag = False,
) -> None:
    """Read every byte against its checksum. Damage costs only the examples it hit: the next run asks for them again."""
    from stillhouse.signals import SignalReader
    from stillhouse.signals.shelf import cache_folder

    session: Session = ctx.obj
    folder = cache_folder(session.workspace.settings.signals, name)
    reader = SignalReader(folder)
    rows = sum(entry.rows for entry in reader.entries.values())
    size = reader.size_bytes
    session.emit(
        {
            "name": folder.name,
            "whole": not reader.damage,
            "damage": list(reader.damage),
            "examples": len(reader.entries),
            "rows": rows,
            "bytes": size,
            "bytes_per_row": round(reader.block_bytes / rows, 1) if rows else None,
        }
    )


@app.command()
def keep(
    ctx: typer.Context,
    dataset: Annotated[str, typer.Argument(help="Made of completions that were captured with logprobs.")],
    json: JsonFlag = False,
) -> None:
    """Keep the log-probabilities that a dataset's answers came with, as token ids, for [method] source = "api"."""
    from stillhouse.jobs.signals import keep_captured

    session: Session = ctx.obj
    found = session.workspace.dataset(dataset)
    kept = keep_captured(session.workspace, found)
    session.say(f"Kept what was said about {kept} answers of {found.name}.")
    session.emit({"dataset": found.fingerprint, "kept": kept})


@app.command()
def remove(ctx: typer.Context, name: str, json: JsonFlag = False) -> None:
    """Take a cache away. A run that needs it builds it again, as long as its teacher is there."""
    from stillhouse.signals import remove_cache

    session: Session = ctx.obj
    session.emit({"name": remove_cache(session.workspace.settings.signals, name), "removed": True})


def _table(found: list[Cached]) -> Table:
    table = new_table("cache", "tier", "parameters", "teacher", ">bytes", "written")
    for cached in found:
        key = cached.key
        parameters = "" if key is None else ", ".join(f"{name} {value:g}" for name, value in sorted(key.parameters.items()))
        teacher, tier = ("?", "unreadable") if key is None else (key.teacher[:19], key.tier)
        table.add_row(cached.name, tier, parameters or "-", plain(teacher), f"{cached.bytes:,}", when(cached.used))
    return table
