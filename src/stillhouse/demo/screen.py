"""How the demo speaks on the terminal: lines, a bar where something takes long, seconds per station. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stillhouse.cli.output import Session, console
from stillhouse.cli.watching import watch_run
from stillhouse.run import Run

Tick = Callable[[int, int], None]
"""Hears how much is done, and of how much."""


class Screen:
    """What the demo tells; `seconds` is how long each station took."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        """A line; silent with `--quiet`."""
        self._session.say(text)

    def write(self, piece: str) -> None:
        """A piece of a line, as it comes."""
        if not self._session.quiet:
            print(piece, end="", file=sys.stderr, flush=True)

    def watch(self, run_id: str) -> Run:
        """Follow a training run to its end."""
        return watch_run(self._session, run_id)

    @contextmanager
    def station(self, name: str, title: str) -> Iterator[None]:
        """Say what comes, and afterwards how long it took."""
        self.say(f"\n{len(self.seconds) + 1}. {title}")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        self.say(f"   {self.seconds[name]:.1f} s")

    @contextmanager
    def bar(self, what: str) -> Iterator[Tick]:
        """A bar with ETA; nothing where stderr is not a terminal."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        talk = console(stderr=True)
        columns = TextColumn("   {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=talk, transient=True, disable=self._session.quiet or not talk.is_terminal) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done, of: progress.update(task, completed=done, total=of)
