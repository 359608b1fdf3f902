"""A run on the terminal: a bar with loss and ETA while it goes, a line for each thing it says, its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

from stillhouse.cli.output import Session, console, when

if TYPE_CHECKING:
    from rich.progress import Progress

    from stillhouse.run import Run, RunEvent


def watch_run(session: Session, run_id: str, *, lines: bool = False) -> Run:
    """Follow a run to its end, talking on stderr; returns it as it ended. `lines`: each event as a JSON line on stdout.

    Ctrl-C leaves the run going, says how to come back to it, and is raised on.
    """
    from stillhouse.jobs.watch import follow

    workspace = session.workspace
    workspace.close()  # the worker writes from here on; following only reads
    losses: dict[str, float] = {}
    try:
        with _bar(session) as bar:
            task = bar.add_task("waiting", total=None, loss="")
            for run, events in follow(lambda: workspace.store, run_id, workspace.settings):
                for event in events:
                    losses.update(event.metrics)
                    _tell(session, bar, event, lines)
                bar.update(task, description=run.state, total=run.steps, completed=run.step, loss=_short(losses))
    except KeyboardInterrupt:
        session.say(f"The run goes on. Watch it: stillhouse train watch {run_id}   Stop it: stillhouse train stop {run_id}")
        raise
    return run


def watch_labelling(session: Session, run_id: str) -> Run:
    """Follow a labelling to its end. A worker that dies is started again, as long as it gets on."""
    from stillhouse.errors import ConflictError
    from stillhouse.jobs import queue

    got_to = -1
    while True:
        run = _watch_labelling(session, run_id)
        if run.state != "interrupted" or run.step <= got_to:
            return run
        got_to = run.step
        session.say("Its process died. It goes on from the answers that are kept.")
        workspace = session.workspace
        with suppress(ConflictError):  # a live server was faster
            queue.begin(workspace.store, workspace.settings, queue.resume(workspace.store, workspace.settings, run))


def _watch_labelling(session: Session, run_id: str) -> Run:
    from stillhouse.jobs.watch import follow

    workspace = session.workspace
    workspace.close()  # the worker writes from here on; following only reads
    try:
        with _bar(session) as bar:
            task = bar.add_task("waiting", total=None, loss="")
            for run, events in follow(lambda: workspace.store, run_id, workspace.settings):
                for event in events:
                    _tell(session, bar, event, lines=False)
                    if "label/done" in event.metrics:
                        bar.update(task, loss=_spoken(event.metrics))
                bar.update(task, description=run.state, total=run.steps, completed=run.step)
    except KeyboardInterrupt:
        session.say(f"The run goes on. Stop it: stillhouse jobs pause {run_id}   Its answers are kept.")
        raise
    return run


def _spoken(metrics: Mapping[str, float]) -> str:
    """`400/s  cost 1.24  window 92  retried 31 throttled  failed 2 server`."""
    parts = [f"{metrics['label/rate']:.3g}/s"]
    parts += [f"cost {metrics['label/cost']:.4g}"] if metrics["label/cost"] else []
    parts += [f"window {metrics['label/window']:.0f}"]
    for what in ("retried", "failed"):
        head = f"label/{what}/"
        parts += [
            f"{what} {count:.0f} {name.removeprefix(head)}" for name, count in metrics.items() if name.startswith(head) and count
        ]
    return "  ".join(parts)


@contextmanager
def asking(session: Session) -> Iterator[Callable[[str, int, int], None]]:
    """Hears (model, done, of how many) and shows a bar a model, from the first word on."""
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    talk = console(stderr=True)
    bars = Bars(console=talk, disable=session.quiet or not talk.is_terminal, transient=True)
    tasks: dict[str, TaskID] = {}

    def progress(model: str, done: int, total: int) -> None:
        if not tasks:
            bars.start()
        if model not in tasks:
            tasks[model] = bars.add_task(model, total=total)
        bars.update(tasks[model], completed=done)

    try:
        yield progress
    finally:
        bars.stop()


def show_end(session: Session, run: Run, *, line: bool = False) -> None:
    """The run as it ended; exits with 1 unless it succeeded or stopped as asked. `line`: as the last JSON line of a stream."""
    if session.json and line:
        session.emit_line(run, "")
    else:
        session.emit(run)
    if run.state in {"succeeded", "paused", "stopped"}:
        return
    session.say(f"Run {run.id} is {run.state}. {run.error or ''}")
    if run.state == "interrupted":
        session.say(f"Go on from its last checkpoint: stillhouse train resume {run.id}")
    raise typer.Exit(1)


def line_of(event: RunEvent) -> str:
    """An event for people: time, step, message, numbers."""
    numbers = "  ".join(f"{name} {value:.6g}" for name, value in event.metrics.items())
    level = "" if event.level == "info" else event.level
    step = "" if event.step is None else f"step {event.step}"
    return "  ".join(part for part in (when(event.time), level, step, event.message, numbers) if part)


def _bar(session: Session) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    talk = console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    return Progress(*columns, TextColumn("{task.fields[loss]}"), console=talk, disable=session.quiet or not talk.is_terminal)


def _tell(session: Session, bar: Progress, event: RunEvent, lines: bool) -> None:
    if lines:
        session.emit_line(event, "")
    elif event.message and not session.quiet:
        bar.console.print(event.message, markup=False)


def _short(losses: dict[str, float]) -> str:
    """The newest losses, e.g. `loss 0.412  valid 0.398`."""
    named: Sequence[tuple[str, float | None]] = (("loss", losses.get("train/loss")), ("valid", losses.get("eval/loss")))
    return "  ".join(f"{name} {value:.4g}" for name, value in named if value is not None)
