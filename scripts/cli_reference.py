"""Write docs/cli.md from the commands themselves: every noun, verb, argument and option with its help.

python scripts/cli_reference.py            write it
python scripts/cli_reference.py --check    exit with 1 when a verb is missing there
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer.main

from stillhouse.cli.main import NOUNS, Noun

DOCUMENT = Path(__file__).parent.parent / "docs" / "cli.md"

NOT_SHOWN = {"help", "json", "install_completion", "show_completion"}
"""Options that every verb has, or only the root."""

INTRODUCTION = """# Command line

Written by `python scripts/cli_reference.py` from the commands themselves; do not edit.

    stillhouse [--data-dir DIR] [--quiet] NOUN VERB ...

`--data-dir DIR` (or `STILLHOUSE_DATA_DIR`) says where everything is kept; it stands before the noun. `--quiet` silences the talk
on stderr. `--version` says which version this is. `--json` stands on every verb: JSON alone on stdout, talk on stderr.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | usage: the command line, a recipe or a file cannot be taken as it is |
| 3 | a quality gate was not met (`eval run --fail-under`) |
| 4 | a key is missing or wrong, or a teacher's terms forbid training |
| 5 | not found, or in conflict with what is there |
| 69 | a service is not available: the store cannot keep what it was given |
| 75 | try again later: somebody else holds the database, or a queue is full |
| 130 | interrupted (Ctrl-C) |
"""


def verbs() -> Iterator[tuple[str, Any]]:
    """`train run` and its command, in the order of the table; a verb without a noun by its own name."""
    for name, noun in NOUNS.items():
        command: Any = typer.main.get_command(_app(noun))
        if "commands" in vars(command):
            yield from ((f"{name} {verb}", each) for verb, each in command.commands.items())
        else:
            yield name, command


def document() -> str:
    """The whole reference."""
    parts, noun = [INTRODUCTION], ""
    for name, command in verbs():
        first = name.partition(" ")[0]
        if first != noun and first != name:
            noun = first
            parts.append(f"## {noun}\n\n{NOUNS[noun].help}\n")
        parts.append(_section(name, command))
    return "\n".join(parts)


def heading(name: str) -> str:
    """A verb stands under its noun; one without a noun stands alone."""
    return f"### {name}" if " " in name else f"## {name}"


def _app(noun: Noun) -> typer.Typer:
    module, _, attribute = noun.target.partition(":")
    app: typer.Typer = getattr(import_module(module), attribute)
    return app


def _section(name: str, command: Any) -> str:
    shown = [param for param in command.params if not param.hidden and param.name not in NOT_SHOWN]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option"]
    usage = " ".join(["stillhouse", name, *(_argument(param) for param in arguments), *(["[OPTIONS]"] if options else [])])
    lines = [heading(name), "", " ".join((command.help or "").split()), "", f"    {usage}", ""]
    rows = [(_argument(param), param) for param in arguments] + [(", ".join(param.opts), param) for param in options]
    if rows:
        lines += ["| | |", "|---|---|", *(f"| `{left}` | {_help(param)} |" for left, param in rows), ""]
    return "\n".join(lines)


def _argument(param: Any) -> str:
    name = str(param.metavar or param.name).upper()
    return name if param.required else f"[{name}]"


def _help(param: Any) -> str:
    default = param.default
    shown = "" if default in (None, False, "", (), []) or callable(default) else f" Default: {default}."
    needed = " Required." if param.required and param.param_type_name == "option" else ""
    text = " ".join((param.help or "").replace("|", "\\|").split())
    return f"{text}{needed}{shown}".strip()


def main() -> None:
    """Write, or check that every verb has its heading."""
    if "--check" in sys.argv[1:]:
        headings = DOCUMENT.read_text(encoding="utf-8").splitlines()
        missing = [name for name, _ in verbs() if heading(name) not in headings]
        if missing:
            sys.exit(f"docs/cli.md lacks {', '.join(missing)}: run python scripts/cli_reference.py")
        return
    DOCUMENT.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
