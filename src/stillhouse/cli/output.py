"""What a command says: data on stdout (a table, or JSON alone with `--json`), talk on stderr, errors in one voice.

Holds no knowledge of any verb. Pydantic, rich and the workspace are imported when first needed: `stillhouse --help` needs none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

    from stillhouse.workspace import Workspace

PLAIN_WIDTH = 200
"""Columns of a table that does not go to a terminal: a pipe should not cut cells off."""


class Session:
    """One command's surroundings, as `ctx.obj`."""

    def __init__(self, *, data_dir: Path | None = None, quiet: bool = False) -> None:
        self.data_dir = data_dir
        self.quiet = quiet
        self.json = False
        self._workspace: Workspace | None = None

    @property
    def workspace(self) -> Workspace:
        """Opened on first use, closed when the command ends."""
        if self._workspace is None:
            from stillhouse.settings import Settings
            from stillhouse.workspace import Workspace

            self._workspace = Workspace(Settings.load(self.data_dir))
        return self._workspace

    def close(self) -> None:
        if self._workspace is not None:
            self._workspace.close()

    def emit(self, value: Any, table: Callable[[], Table | Group] | None = None) -> None:
        """The command's result: JSON with `--json`; else the table, or the value's fields line by line."""
        if self.json:
            self.emit_json(value)
        else:
            console().print(table() if table is not None else _plain(value))

    def emit_json(self, value: Any) -> None:
        """One JSON document on stdout."""
        sys.stdout.write(_json_text(value, indent=True) + "\n")
        sys.stdout.flush()

    def emit_line(self, value: Any, text: str) -> None:
        """One item of a stream that is still going on: a JSON line with `--json`, else `text`."""
        sys.stdout.write((_json_text(value) if self.json else text) + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Talk, on stderr; silent with `--quiet`."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)


def _set_json(ctx: typer.Context, value: bool) -> bool:
    session = ctx.find_object(Session)
    if session is not None and value:
        session.json = True
    return value


JsonFlag = Annotated[bool, typer.Option("--json", callback=_set_json, help="JSON on stdout, nothing else there.")]


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout (or stderr) that does not cut tables when it is not a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False)


def new_table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's look; a column whose name starts with `>` is right-aligned."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return table


def plain(text: object) -> str:
    """Text for a table's cell that means what it says: brackets in it are no markup."""
    from rich.markup import escape

    return escape(str(text))


def when(seconds: float | None) -> str:
    """A time for people: local, to the second; `-` for none."""
    from datetime import datetime

    return "-" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def complain(message: str) -> None:
    """An error, on stderr, whatever `--quiet` says."""
    print(f"Error: {message}", file=sys.stderr, flush=True)


def write_anything() -> None:
    """From here on stdout takes every string; what its encoding cannot say (half a surrogate pair, in any) becomes an escape."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _json_text(value: Any, *, indent: bool = False) -> str:
    import orjson

    content = _jsonable(value)
    try:
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 if indent else None).decode()
    except TypeError:  # a lone surrogate somewhere (see chat.parse_json): it leaves as the escape that it came as
        return json.dumps(content, indent=2 if indent else None)


def _jsonable(value: Any) -> Any:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_jsonable(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _plain(value: Any) -> Any:
    """What is printed where a verb brings no table: names and values of a record, one item a line of a list."""
    from rich.text import Text

    content = _jsonable(value)
    if not isinstance(content, dict):
        lines = content if isinstance(content, list) else [content]
        return Text("\n".join(str(line) for line in lines))
    table = new_table("", "")
    table.show_header = False
    for name, item in content.items():
        table.add_row(Text(str(name)), Text(str(item)))
    return table
