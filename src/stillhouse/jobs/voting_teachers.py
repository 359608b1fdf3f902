"""A teacher asked for the label of every text: its ledger, the form of its answers, and the votes they are.

The ledger (`labels/<digest>.jsonl`) is found by what is asked about which texts. It stays: the same texts with other functions,
another way to combine or a larger budget ask for what is not answered yet, and for nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from stillhouse.apply import Ask, Asking, Ledger, Limit, Meter
from stillhouse.chat import ChatResponse
from stillhouse.dataset import Example
from stillhouse.jobs.classification import Heard, Wish
from stillhouse.jobs.questions import Questions
from stillhouse.labelling import Plan, asks_of, problem_of
from stillhouse.prices import load_prices
from stillhouse.records import fingerprint
from stillhouse.routing import Target
from stillhouse.voting import Vote
from stillhouse.voting.hearing import vote_of
from stillhouse.voting.mapping import Mapping
from stillhouse.workspace import Workspace

Progress = Callable[[str, int, int], None]
"""(voter, done, of how many)."""
LOOK_SECONDS = 0.5


async def ask_teacher(
    workspace: Workspace,
    wish: Wish,
    name: str,
    questions: Questions,
    examples: Sequence[Example],
    progress: Progress,
    stop: Callable[[], bool] = lambda: False,
) -> Heard:
    """Ask one teacher about every text, until `stop` says so. Raises as `classify` does."""
    target = workspace.target(name)
    meter = Meter(load_prices(workspace.settings.prices).of(target.name))
    meter.require_bounded(wish.budget, wish.parameters)
    asked = [asked_about(wish, example) for example in examples]
    try:
        with Ledger(ledger_path(workspace, wish, target, questions), wish.budget, meter) as ledger:
            ledger.ask_again(ledger.given_up)
            asking = Asking(target.model, ledger, limit=Limit(wish.concurrency), stop=stop)
            if wish.answers == "auto" and target.forwarder is not None:
                await asking.all([_probe(wish, target, asked[0])])
            plan = known_plan(wish, target, asked[0], ledger)
            telling = asyncio.create_task(_tell(progress, name, ledger, len(asked) * wish.samples))
            try:
                await asking.all(asks_of(asked, plan))
            finally:
                telling.cancel()
                with suppress(asyncio.CancelledError):
                    await telling
            progress(name, ledger.answers, len(asked) * wish.samples)
            return _heard(wish, name, target, plan, ledger, asked)
    finally:
        await target.model.close()


def asked_about(wish: Wish, example: Example) -> Example:
    """What a teacher is asked: the labels, and the text."""
    return example.model_copy(update={"messages": wish.classification.messages(example.messages)})


def known_plan(wish: Wish, target: Target, first: Example, ledger: Ledger) -> Plan:
    """What a teacher is asked with, as far as the `first` question has shown. What classifiers here say is a label anyway."""
    if wish.answers != "auto" or target.forwarder is None:
        return wish.plan(target.name, "text" if wish.answers == "auto" else wish.answers)
    tried = ledger.outcome(_probe(wish, target, first).key)
    return wish.plan(target.name, "text" if tried is not None and tried.kind == "refused" else "json")


def _probe(wish: Wish, target: Target, first: Example) -> Ask:
    """Whether it takes a constrained form is found out by asking it for one."""
    return wish.plan(target.name, "json").asks(first)[0]


async def _tell(progress: Progress, name: str, ledger: Ledger, total: int) -> None:
    while True:
        progress(name, min(ledger.answers, total), total)
        await asyncio.sleep(LOOK_SECONDS)


def _heard(wish: Wish, name: str, target: Target, plan: Plan, ledger: Ledger, asked: Sequence[Example]) -> Heard:
    mapping, found = Mapping(wish.classification.labels), Heard(name, [], target=target)
    for example in asked:
        outcomes = [ledger.outcome(ask.key) for ask in plan.asks(example)]
        problems = [problem_of(outcome) for outcome in outcomes]
        usable: list[ChatResponse] = [
            outcome.response
            for outcome, problem in zip(outcomes, problems, strict=True)
            if problem is None and outcome is not None and outcome.response is not None
        ]
        found.votes.append(vote_of(usable, mapping, found.rules) if usable else Vote({}, problems[0] or ""))
    return found


def ledger_path(workspace: Workspace, wish: Wish, target: Target, questions: Questions) -> Path:
    """By all that decides what this teacher is asked."""
    asked = wish.plan(target.name, "text").json_bytes()
    parts = asked, wish.classification.json_bytes(), wish.answers.encode(), wish.column.encode(), questions.identity.encode()
    digest = fingerprint(b"classify", target.upstream.encode(), *parts).removeprefix("sha256:")
    return workspace.settings.data_dir / "labels" / f"{digest[:32]}.jsonl"
