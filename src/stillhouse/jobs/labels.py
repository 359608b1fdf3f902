"""Labelling by name: questions of a dataset or a file, a teacher, and the dataset version that its answers make.

What labelling is stands in `stillhouse.labelling`. The ledger of one (`labels/<digest>.jsonl`) is found by what is asked of whom:
killed midway and started again with the same words, it goes on where it was; only how much may be spent, how fast and by which
way may change. It stays as long as something is left to do: questions that were given up, or not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from pydantic import Field

from stillhouse.apply import Asking, Budget, Ledger, Limit, Meter, Standing, Tally
from stillhouse.apply.batches import Batching, BatchServer
from stillhouse.apply.budget import answer_limit
from stillhouse.curation import Collected, Options, build, save
from stillhouse.dataset import Dataset, Example
from stillhouse.errors import NotFoundError, UsageError
from stillhouse.jobs import queue
from stillhouse.jobs.claim import Claim
from stillhouse.jobs.questions import Questions, absolute, find_questions
from stillhouse.jobs.signals import SaidAbout, keep_answers, said_in, tokenizer_of, without_misfits
from stillhouse.labelling import UNASKED, Plan, answers, asks_of
from stillhouse.prices import load_prices
from stillhouse.records import Record, fingerprint
from stillhouse.routing import Target
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace

KIND = "label"
LOOK_SECONDS = 1.0
"""Between two reports of how it stands."""
PATIENCE_SECONDS = 300.0
"""How long the end of the work waits for a store that is away."""

Watch = Callable[[Standing], None]


class Wish(Record):
    """What is to be labelled, and how."""

    source: str
    """A file, or a dataset's name."""
    model: str
    out: str
    """Name of the dataset that is made."""
    parameters: dict[str, Any] = {}
    """The API's: temperature, max_completion_tokens, ..."""
    samples: int = Field(default=1, ge=1)
    """Answers to each question."""
    seed: int | None = None
    logprobs: int = 0
    """Log-probabilities of so many of the likeliest tokens are asked for and kept, to be learned from. 0: none."""
    concurrency: int = 8
    """The most requests under way at once; how many there are is learnt from how the teacher answers."""
    budget: Budget = Budget()
    batch: bool = False
    """Through the provider's batch API: answers within a day, for less."""

    @property
    def asked(self) -> dict[str, Any]:
        """What goes with every question."""
        return {**self.parameters, **({"logprobs": True, "top_logprobs": self.logprobs} if self.logprobs else {})}

    @property
    def answer_limit(self) -> int | None:
        """Tokens of an answer at most, where the wish says so."""
        return answer_limit(self.parameters)

    def plan(self, model: str) -> Plan:
        return Plan(model=model, parameters=self.asked, samples=self.samples, seed=self.seed)


class Labelled(Record):
    """What came of a labelling."""

    dataset: Dataset
    standing: Standing
    unasked: int
    """Answers that are still to be had: the budget was spent, or somebody stopped it."""


async def label_source(
    workspace: Workspace, wish: Wish, watch: Watch | None = None, stop: Callable[[], bool] = lambda: False
) -> Labelled | None:
    """Ask `wish.model` every question; its answers become a dataset. A dataset's splits stay, a file's are drawn.

    None when `stop` said so before all was asked; what came is kept. Raises NotFoundError, UsageError when no usable answer came
    or log-probabilities are wanted of who names no tokenizer, RecipeError where most are of other tokens than that tokenizer's,
    PermissionRefusedError, ConflictError when another process is at the same labelling.
    """
    questions = find_questions(workspace, wish.source)
    total = sum(1 for _ in questions) * wish.samples
    if not total:
        raise UsageError(f"{wish.source} holds no question.")
    target = workspace.target(wish.model)
    tokenizer = tokenizer_of(workspace, target.upstream) if wish.logprobs else None
    try:
        with open_ledger(workspace, wish, questions, target) as ledger:
            standing, out_of_budget = await _ask(target, wish, questions, ledger, total, watch, stop)
            if stop() and not out_of_budget and standing.done + sum(standing.failed.values()) < total:
                return None
            dataset = _publish(workspace, wish, questions, target, ledger, tokenizer)
            unasked = dataset.removed.get(UNASKED, 0)
            if not unasked and not standing.failed:
                ledger.drop()
            return Labelled(dataset=dataset, standing=standing, unasked=unasked)
    finally:
        await target.model.close()


def plan_labelling(workspace: Workspace, wish: Wish) -> Run:
    """The run that does it, once all that can be known to go wrong has been looked for. What was given up before is asked again.

    Raises NotFoundError, UsageError, ConflictError when another process is at the same labelling.
    """
    wish = wish.model_copy(update={"source": absolute(wish.source)})
    questions = find_questions(workspace, wish.source)
    target = workspace.target(wish.model)
    if wish.logprobs:
        tokenizer_of(workspace, target.upstream)
    if wish.batch:
        _batch_server(target)
    with open_ledger(workspace, wish, questions, target) as ledger:
        ledger.ask_again(ledger.given_up)
    return queue.planned(KIND, wish.out, {"wish": wish.model_dump(mode="json")}, resource="network")


def open_ledger(workspace: Workspace, wish: Wish, questions: Questions, target: Target) -> Ledger:
    """What is known of this labelling, with the budget that it has now. Raises UsageError where that cannot be kept."""
    meter = Meter(load_prices(workspace.settings.prices).of(target.name))
    meter.require_bounded(wish.budget, wish.parameters)
    return Ledger(ledger_path(workspace.settings, wish, questions), wish.budget, meter)


def ledger_path(settings: Settings, wish: Wish, questions: Questions) -> Path:
    """By all that decides what is asked, and the name it will have."""
    asked = wish.model_copy(update={"concurrency": 1, "budget": Budget(), "batch": False})
    digest = fingerprint(asked.json_bytes(), questions.identity.encode()).removeprefix("sha256:")
    return settings.data_dir / "labels" / f"{digest[:32]}.jsonl"


def work(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """Label what `run.spec["wish"]` says: `{"dataset": FINGERPRINT, ...}`, None when it was asked to stop."""
    workspace = Workspace(settings)
    workspace.share()

    def watch(standing: Standing) -> None:
        claim.journal.append(step=standing.done, metrics=standing.metrics())
        claim.progress(standing.done, standing.total)

    try:
        wish = Wish.model_validate(run.spec["wish"])
        done = uvloop.run(label_source(workspace, wish, watch, lambda: claim.should_stop))
    finally:
        workspace.close()
    if done is None:
        return None
    claim.insist(claim.flush, PATIENCE_SECONDS)
    claim.journal.append(f"The dataset is {done.dataset.name} {done.dataset.fingerprint[:19]}.")
    return {
        "dataset": done.dataset.fingerprint,
        "name": done.dataset.name,
        "unasked": done.unasked,
        "standing": done.standing.model_dump(mode="json"),
    }


def wish_of(workspace: Workspace, name: str) -> Wish:
    """What a run of this kind was to do, by its id, or the newest that made a dataset of that name. Raises NotFoundError."""
    for run in workspace.store.runs(KIND):
        if name in (run.id, run.name):
            return Wish.model_validate(run.spec["wish"])
    raise NotFoundError(f"There is no labelling '{name}'. Say its run's id, or the name of the dataset it makes.")


async def _ask(
    target: Target,
    wish: Wish,
    questions: Questions,
    ledger: Ledger,
    total: int,
    watch: Watch | None,
    stop: Callable[[], bool],
) -> tuple[Standing, bool]:
    """Ask what is not answered; how it stood at the end, and whether the budget ended it."""
    limit, tally = Limit(wish.concurrency), Tally(total)
    tally.done, tally.failed = ledger.answers, ledger.failed.copy()
    plan = wish.plan(target.name)

    def standing() -> Standing:
        now = asyncio.get_running_loop().time()
        return tally.standing(now, spent=ledger.spent, under_way=limit.under_way, window=int(limit.window))

    async def report() -> None:
        while True:
            if watch is not None:
                watch(standing())
            await asyncio.sleep(LOOK_SECONDS)

    reporting = asyncio.create_task(report())
    try:
        if wish.batch:
            batching = Batching(_batch_server(target), ledger, tally=tally, stop=stop)
            await batching.all(lambda: asks_of(questions, plan))
            out_of_budget = batching.out_of_budget
        else:
            asking = Asking(target.model, ledger, limit=limit, tally=tally, stop=stop)
            await asking.all(asks_of(questions, plan))
            out_of_budget = asking.out_of_budget
    finally:
        reporting.cancel()
    if watch is not None:
        watch(standing())
    return standing(), out_of_budget


def _batch_server(target: Target) -> BatchServer:
    """Raises UsageError where the teacher is none."""
    if not isinstance(target.model, BatchServer):
        raise UsageError(f"'{target.name}' has no batch API: it is on this machine, or an alias. Name an upstream's own model.")
    return target.model


def _publish(
    workspace: Workspace, wish: Wish, questions: Questions, target: Target, ledger: Ledger, tokenizer: Path | None
) -> Dataset:
    """The usable answers as a dataset version, and what came with them in the teacher's cache."""
    collected = questions.account()
    found: dict[str, tuple[Example, str]] = {}
    labelled = list(
        answers(
            questions,
            wish.plan(target.name),
            ledger.outcome,
            left_out=lambda _, reason: collected.left_out(reason),
            heard=lambda example, outcome: found.update({example.id: (example, outcome.key)}),
        )
    )
    said = SaidAbout(found, lambda identity: (found[identity][0], said_in(_body(ledger, found[identity][1]))))
    if tokenizer is not None:
        labelled = without_misfits(collected, labelled, tokenizer, said)
    dataset = _version(workspace, wish, collected, labelled, target)
    if tokenizer is not None:
        keep_answers(workspace, dataset, tokenizer, said)
    return dataset


def _version(workspace: Workspace, wish: Wish, collected: Collected, labelled: list[Example], target: Target) -> Dataset:
    answered = collected.kept(labelled)
    answered.teacher_of = {example.source: target.name for example in labelled if example.source is not None}
    answered.may_train = {target.upstream: target.may_train}
    # Splits that were given were checked for leaks when they were drawn; a teacher may answer two questions alike.
    options = Options(near_duplicates=None) if collected.given_splits else Options()
    version = build(wish.out, answered, options, recipe={"label": wish.model_dump(mode="json")})
    return save(version, workspace.dataset_folder, workspace.store)


def _body(ledger: Ledger, key: str) -> dict[str, Any]:
    outcome = ledger.outcome(key)
    return {} if outcome is None or outcome.response is None else outcome.response.body
