"""A labelling from its first request to its last word on the terminal; what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from stillhouse.cli.output import Session, new_table

if TYPE_CHECKING:
    from stillhouse.jobs.estimating import Estimate
    from stillhouse.jobs.labels import Wish
    from stillhouse.run import Run


def ask(session: Session, wish: Wish, *, detach: bool) -> None:
    """Begin the run, and watch it to its end unless `detach`."""
    from stillhouse.cli.watching import watch_labelling
    from stillhouse.jobs.labels import plan_labelling

    run = begin(session, plan_labelling(session.workspace, wish))
    if detach:
        session.emit(session.workspace.store.run(run.id))
    else:
        say_end(session, watch_labelling(session, run.id))


def begin(session: Session, planned: Run) -> Run:
    """Put the run into the queue, and see that it is started."""
    from stillhouse.jobs import queue

    workspace = session.workspace
    run = queue.submit(workspace.store, workspace.settings, planned)
    queue.begin(workspace.store, workspace.settings, run)
    session.say(f"Run {run.id} has started.")
    return run


def say_end(session: Session, run: Run) -> None:
    """What came of it. Raises Exit with 1 where it failed."""
    if run.state != "succeeded":
        session.say(f"Run {run.id} is {run.state}. {run.error or ''} What was answered is kept: the same command goes on.")
        session.emit(run)
        raise typer.Exit(0 if run.state in {"paused", "cancelled"} else 1)
    dataset = session.workspace.dataset(str(run.result["dataset"]))
    removed = ", ".join(f"{count} {reason}" for reason, count in dataset.removed.items()) or "nothing"
    examples = sum(dataset.counts.values())
    session.say(f"Dataset {dataset.name} {dataset.fingerprint[:19]}: {examples:,} examples. Left out: {removed}.")
    standing = run.result["standing"]
    if run.result["unasked"]:
        session.say(f"{run.result['unasked']:,} are not asked: the budget is spent. The same command with a larger one goes on.")
    if any(standing["failed"].values()):
        session.say(f"Dead letters: stillhouse label dead {run.id}   Ask them again: stillhouse label retry {run.id}")
    labelling = {"run": run.id, "unasked": run.result["unasked"], **standing}
    session.emit({**dataset.model_dump(mode="json"), "labelling": labelling} if session.json else dataset)


def say_estimate(session: Session, wish: Wish) -> None:
    """What it would ask and cost; nothing is asked."""
    from stillhouse.jobs.estimating import estimate

    found = estimate(session.workspace, wish)
    session.emit(found, lambda: estimate_table(found))


def estimate_table(found: Estimate, title: str = "") -> Any:
    most = "nobody knows: say --max-tokens" if found.answer_tokens_most is None else f"{found.answer_tokens_most:,}"
    price = "no price by tokens" if found.prompt_cost is None else f"{found.prompt_cost:,.2f} {found.currency}"
    table = new_table(title, "about", "at most")
    table.add_row("questions", f"{found.questions:,}", "")
    table.add_row("requests to make", f"{found.requests:,}", "")
    table.add_row("answered already", f"{found.answered:,}", "")
    table.add_row("tokens of prompts", f"{found.prompt_tokens:,}", f"{found.prompt_tokens_most:,}")
    table.add_row("tokens of answers", "", most)
    table.add_row("prompts cost", price, "")
    table.add_row("all of it costs", "", "-" if found.cost_most is None else f"{found.cost_most:,.2f} {found.currency}")
    return table
