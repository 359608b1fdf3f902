"""`stillhouse doctor`: what is installed, what is missing, what is wrong, and what to type.

Reads only: it opens no lock, writes no database and asks no server unless told to. A missing extra is a note, not a problem.
"""

from __future__ import annotations

import platform
import shutil
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated, Literal

import typer

from stillhouse import __version__
from stillhouse.cli.output import JsonFlag, Session, new_table, plain
from stillhouse.errors import StillhouseError
from stillhouse.records import Record
from stillhouse.registry import EXTRA_OF
from stillhouse.settings import Settings
from stillhouse.shipped import ASSETS, builtin_models
from stillhouse.workspace import Workspace

app = typer.Typer()

FIXED_SQLITE = (3, 51, 3)
"""From here on SQLite has the fix for the WAL-reset bug; before, one writing process (which Stillhouse ensures) avoids it."""
REACH_SECONDS = 5.0


class Finding(Record):
    check: str
    verdict: Literal["ok", "note", "problem"]
    detail: str


@app.command()
def doctor(
    ctx: typer.Context,
    upstreams: Annotated[bool, typer.Option("--upstreams", help="Also ask every upstream whether it answers.")] = False,
    json: JsonFlag = False,
) -> None:
    """Check the installation, the data folder and (if asked) the upstreams. Exits with 1 when there is a problem."""
    session: Session = ctx.obj
    settings = Settings.load(session.data_dir)
    findings = [*_versions(), *_extras(), *_assets(), *_disk(settings), *_database(settings)]
    if upstreams:
        findings += _upstreams(session.workspace)
    table = new_table("check", "verdict", "detail")
    for finding in findings:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.verdict]
        table.add_row(finding.check, f"[{colour}]{finding.verdict}[/{colour}]", plain(finding.detail))
    session.emit(findings, lambda: table)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(1)


def _versions() -> Iterator[Finding]:
    system = f"Python {platform.python_version()}, {platform.platform()}"
    yield Finding(check="stillhouse", verdict="ok", detail=f"{__version__} on {system}")
    fixed = sqlite3.sqlite_version_info >= FIXED_SQLITE
    hint = "" if fixed else "; before 3.51.3 two writing processes could break it. Stillhouse writes with one."
    yield Finding(check="sqlite", verdict="ok" if fixed else "note", detail=sqlite3.sqlite_version + hint)


def _extras() -> Iterator[Finding]:
    distributions = {"sklearn": "scikit-learn"}
    for module, extra in EXTRA_OF.items():
        if find_spec(module) is None:
            yield Finding(check=module, verdict="note", detail=f"not installed: pip install 'stillhouse[{extra}]'")
            continue
        try:
            installed = version(distributions.get(module, module))
        except PackageNotFoundError:
            installed = "installed"
        yield Finding(check=module, verdict="ok", detail=installed)


def _assets() -> Iterator[Finding]:
    found = [folder.name for folder in builtin_models()]
    if not found:
        yield Finding(check="builtin models", verdict="note", detail=f"none in {ASSETS}: the demo cannot run without them")
    else:
        yield Finding(check="builtin models", verdict="ok", detail=", ".join(found))


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    enough = free >= settings.min_free_bytes
    needed = "" if enough else f": below {settings.min_free_bytes / 2**20:.0f} MiB capture is refused"
    yield Finding(check="disk", verdict="ok" if enough else "problem", detail=f"{free / 2**30:.1f} GiB free at {there}{needed}")
    state = "there" if folder.is_dir() else "not there yet; it is made when first needed"
    yield Finding(check="data folder", verdict="ok", detail=f"{folder} ({state})")


def _database(settings: Settings) -> Iterator[Finding]:
    if not settings.database.exists():
        yield Finding(check="database", verdict="ok", detail="none yet")
        return
    from stillhouse.stores.dialects import SQLite

    try:
        health = SQLite(settings.database).health()
    except (StillhouseError, sqlite3.Error) as exc:
        yield Finding(check="database", verdict="problem", detail=f"{settings.database}: {exc}")
        return
    problems = [str(problem) for problem in health["problems"]]
    size = settings.database.stat().st_size / 2**20
    detail = "; ".join(problems) if problems else f"{settings.database} is whole ({size:.1f} MiB)"
    yield Finding(check="database", verdict="problem" if problems else "ok", detail=detail)


def _upstreams(workspace: Workspace) -> Iterator[Finding]:
    for upstream in workspace.store.upstreams():
        trouble = _trouble_reaching(upstream.base_url)
        verdict: Literal["ok", "problem"] = "problem" if trouble else "ok"
        yield Finding(check=f"upstream {upstream.name}", verdict=verdict, detail=trouble or upstream.base_url)


def _trouble_reaching(base_url: str) -> str | None:
    """None when anything answers there, a refusal for want of a key included: this asks whether it is there, not who we are."""
    try:
        urllib.request.urlopen(f"{base_url.rstrip('/')}/models", timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError as exc:
        exc.close()
    except (OSError, ValueError) as exc:
        return f"{base_url} does not answer: {exc}"
    return None
