"""One task's part of the work folder: where its runs lie, what is done there already, how far the rest is."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from stillhouse.settings import Settings
from stillhouse.workspace import Workspace

TEACHER, BASE = "builtin:teacher", "builtin:base"


class Bench(NamedTuple):
    """A task in the work folder, and what the command line said."""

    work: Path
    key: str
    """The task's name in the paper."""
    options: argparse.Namespace

    @property
    def folder(self) -> Path:
        """The task's, in the paper's layout."""
        return self.work / self.key

    @property
    def runs(self) -> Path:
        """Where the runs of one kind lie."""
        chosen = self.options.choose
        return self.folder / (f"runs-{self.options.steps}" + ("" if chosen == "first" else f"-{chosen}"))

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        """The task's data folder, for as long as something is done in it."""
        workspace = Workspace(Settings(data_dir=self.folder / "data"))
        try:
            yield workspace
        finally:
            workspace.close()


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` said when it was first asked."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make()), encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def say(name: str) -> Callable[[int, int], None]:
    """On stderr, every twenty seconds."""
    last = [0.0]

    def told(done: int, of: int) -> None:
        if time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"{name} {done}/{of}", file=sys.stderr, flush=True)

    return told
