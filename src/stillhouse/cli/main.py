"""The command `stillhouse`: a table of nouns, each imported only when it is called.

Holds the table, the global options and the exit codes; what a verb does stands in the noun's own file. Importing every noun for
`--help` would cost seconds once torch is behind one of them, so the help's lines stand here.

Exit codes: 0 ok, 1 failed, 2 usage, 3 quality gate not met, 4 auth, 5 not found or conflict, 69 service unavailable,
75 retry later, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, NamedTuple, NoReturn

import typer

from stillhouse import __version__
from stillhouse.cli.output import Session, complain, write_anything
from stillhouse.errors import StillhouseError, UsageError


class Noun(NamedTuple):
    target: str
    """`module:attribute` of a Typer app."""
    help: str
    panel: str
    single: bool = False
    """One verb without a noun: `stillhouse serve`."""


START, COLLECT, TEACH, DEPLOY = "Start here", "Collect", "Teach and judge", "Deploy"

NOUNS = {
    "demo": Noun("stillhouse.cli.demo:app", "The whole loop, offline, in about seven minutes.", START, single=True),
    "serve": Noun("stillhouse.cli.serve:app", "The gateway: OpenAI's API, every exchange kept.", START, single=True),
    "distill": Noun("stillhouse.cli.distill:app", "From data to an evaluated student: one recipe, whole.", START, single=True),
    "doctor": Noun("stillhouse.cli.doctor:app", "What is installed, what is missing, what is wrong.", START, single=True),
    "upstream": Noun("stillhouse.cli.upstream:app", "The teachers: named servers that speak OpenAI's API.", COLLECT),
    "key": Noun("stillhouse.cli.key:app", "Who may call the gateway.", COLLECT),
    "completions": Noun("stillhouse.cli.completions:app", "What passed through the gateway and was kept.", COLLECT),
    "import": Noun("stillhouse.cli.imports:app", "Bring in what other tools have collected.", COLLECT),
    "dataset": Noun("stillhouse.cli.dataset:app", "Immutable, fingerprinted versions of examples.", TEACH),
    "label": Noun("stillhouse.cli.label:app", "Ask a teacher for the answers to a dataset or a file.", TEACH),
    "cot": Noun("stillhouse.cli.cot:app", "Chains of thought: generated, scored, filtered, in the paper's files.", TEACH),
    "signals": Noun("stillhouse.cli.signals:app", "What teachers said, kept: listed, checked, taken away.", TEACH),
    "train": Noun("stillhouse.cli.train:app", "Train a student; runs outlive the terminal and the server.", TEACH),
    "jobs": Noun("stillhouse.cli.jobs:app", "Long work of every kind: what waits, what goes on, what came of it.", TEACH),
    "eval": Noun("stillhouse.cli.eval:app", "Student, teacher and base on the same questions.", TEACH),
    "models": Noun("stillhouse.cli.models:app", "The students that were made, and where they came from.", DEPLOY),
    "route": Noun("stillhouse.cli.route:app", "Which model answers for a name; rolling back is one command.", DEPLOY),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    write_anything()
    try:
        build(arguments)(args=arguments, prog_name="stillhouse")
    except StillhouseError as exc:
        complain(str(exc))
        sys.exit(exc.exit_code)
    except ValueError as exc:
        complain(_of_a_record(exc))
        sys.exit(UsageError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command tree for these arguments: the nouns that stand among them are imported, the others only listed."""
    root = typer.Typer(
        name="stillhouse",
        help="Capture a large model's traffic, train a small one on it, put it in the large one's place.",
        no_args_is_help=True,
        add_completion="--install-completion" in arguments or "--show-completion" in arguments,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    root.callback()(_global_options)
    for name, noun in NOUNS.items():
        _add(root, name, noun, called=name in arguments)
    return root


def _add(root: typer.Typer, name: str, noun: Noun, *, called: bool) -> None:
    app = _load(noun.target) if called else typer.Typer()
    if noun.single and called and not app.registered_callback and len(app.registered_commands) == 1:
        verb = app.registered_commands[0]
        assert verb.callback is not None
        root.command(name, help=verb.help, epilog=verb.epilog, rich_help_panel=noun.panel)(verb.callback)
    else:
        root.add_typer(app, name=name, help=noun.help, rich_help_panel=noun.panel)


def _load(target: str) -> typer.Typer:
    module, _, attribute = target.partition(":")
    app = getattr(import_module(module), attribute)
    assert isinstance(app, typer.Typer)
    return app


def _show_version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


def _global_options(
    ctx: typer.Context,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Where everything is kept. Default: $STILLHOUSE_DATA_DIR, or the user's."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No talk on stderr, only errors.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")] = False,
) -> None:
    session = Session(data_dir=data_dir, quiet=quiet)
    ctx.obj = session
    ctx.call_on_close(session.close)


def _of_a_record(exc: ValueError) -> str:
    """The message of pydantic's ValidationError, in our voice. Any other ValueError is a fault of ours: raised again."""
    if not type(exc).__module__.startswith("pydantic"):
        raise exc
    from pydantic import ValidationError  # loaded already: it raised

    from stillhouse.records import problems_of

    assert isinstance(exc, ValidationError)
    return f"{exc.title} cannot be made like that. {problems_of(exc)}."


if __name__ == "__main__":
    main()
