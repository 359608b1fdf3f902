"""What `label classify` does between its options and the verb: labels, weights, and the report as a table."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from stillhouse.cli.label_runs import begin, estimate_table
from stillhouse.cli.output import Session, new_table, plain
from stillhouse.cli.similarities import similarity_of
from stillhouse.cli.watching import asking
from stillhouse.errors import UsageError
from stillhouse.jobs.classification import Wish
from stillhouse.jobs.classifying import Classified, classify, write_left
from stillhouse.records import problems_of
from stillhouse.voting.label_names import read_labels

if TYPE_CHECKING:
    from stillhouse.voting.reporting import VotingReport


def weights_of(said: Sequence[str]) -> dict[str, float]:
    """`MODEL=2.5` -> model and number. Raises UsageError."""
    found = {}
    for each in said:
        name, _, number = each.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if not name or not 0 < found[name] < float("inf"):
            raise UsageError(f"--weight is a teacher and a number above 0, as in --weight gpt-4o=2; got '{each}'.")
    return found


def wish_of_options(said: Mapping[str, Any]) -> Wish:
    """The command's options, by name, as a wish. Raises UsageError."""
    same = ("source", "out", "functions", "column", "answers", "samples", "seed", "logprobs", "abstain_below", "targets")
    parameters = {"temperature": said["temperature"], "max_completion_tokens": said["max_tokens"]}
    classification = {"labels": read_labels(said["labels"]), "may_abstain": said["may_abstain"]}
    if said["instructions"] is not None:
        classification["instructions"] = said["instructions"]
    try:
        return Wish.model_validate(
            {
                **{name: said[name] for name in (*same, "concurrency")},
                "classification": classification,
                "teachers": tuple(said["teacher"] or ()),
                "parameters": {name: value for name, value in parameters.items() if value is not None},
                "how": said["combine"],
                "weights": weights_of(said["weight"] or ()),
                "near_duplicates": similarity_of(said["near_duplicates"], "--near-duplicates"),
                "budget": {name: said[f"budget_{name}"] for name in ("calls", "tokens", "cost")},
            }
        )
    except ValidationError as exc:
        raise UsageError(f"{problems_of(exc)}.") from exc


def say_estimates(session: Session, wish: Wish) -> None:
    """What each teacher would be asked, and cost; nothing is asked."""
    from rich.console import Group

    from stillhouse.jobs.estimating import estimate_classifying

    found = estimate_classifying(session.workspace, wish)
    session.emit(found, lambda: Group(*(estimate_table(each, name) for name, each in found.items())))


def detach_classify(session: Session, wish: Wish, left_out: Path | None) -> None:
    """Begin it as a run."""
    from stillhouse.jobs.classify_runs import plan_classifying

    run = begin(session, plan_classifying(session.workspace, wish, left_out))
    session.say(f"Watch it: stillhouse jobs list   Stop it: stillhouse jobs pause {run.id}   Its answers are kept.")
    session.emit(session.workspace.store.run(run.id))


def run_classify(session: Session, wish: Wish, left_out: Path | None) -> None:
    """Ask, vote, publish; say what came of it."""
    session.workspace.share()
    with asking(session) as progress:
        done = asyncio.run(classify(session.workspace, wish, progress))
    assert done is not None, "nobody stops it but by a signal"
    if left_out is not None:
        write_left(done.left, left_out)
    report, dataset = done.report, done.dataset
    for line in _lines(done):
        session.say(line)
    if done.left:
        where = f"They are in {left_out}." if left_out is not None else "--left-out FILE writes them down, each with its votes."
        session.say(f"{len(done.left):,} texts have no label. {where}")
    if done.unasked:
        session.say(
            f"{done.unasked:,} texts were not asked about: the budget is spent. The same command with a larger one goes on."
        )
    session.say(f"Next: stillhouse distill recipes/linear.toml --dataset {dataset.name}")
    found = {"dataset": dataset.model_dump(mode="json"), "report": report.model_dump(mode="json"), "unasked": done.unasked}
    session.emit(found, lambda: _table(report))


def _lines(done: Classified) -> list[str]:
    report, dataset = done.report, done.dataset
    rows = ", ".join(f"{count:,} {split}" for split, count in dataset.counts.items())
    removed = ", ".join(f"{count:,} {reason}" for reason, count in dataset.removed.items()) or "nothing"
    sure = "" if report.mean_confidence is None else f", on average {report.mean_confidence:.3f} sure"
    right = "" if report.accuracy is None else f" By the source's own answers {report.accuracy:.1%} of the labels are right."
    return [
        f"{report.labelled:,} of {report.texts:,} texts have a label ({report.how}{sure}); voters disagree on "
        f"{report.conflicts:.1%}.{right}",
        f"Dataset {dataset.name} {dataset.fingerprint[:19]}: {rows}. Left out: {removed}.",
    ]


def _table(report: VotingReport) -> Any:
    gold = any(voter.accuracy is not None for voter in report.voters)
    columns = ("voter", ">votes", ">coverage", ">estimated accuracy", ">agreement", ">conflicts")
    table = new_table(*columns, *([">accuracy"] if gold else []), "no vote")
    for voter in report.voters:
        numbers = (
            voter.coverage,
            voter.estimated_accuracy,
            voter.agreement,
            voter.conflicts,
            *([voter.accuracy] if gold else []),
        )
        why = ", ".join(f"{count:,} {reason}" for reason, count in voter.no_votes.items()) or "-"
        table.add_row(plain(voter.name), f"{voter.votes:,}", *map(_share, numbers), plain(why))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
