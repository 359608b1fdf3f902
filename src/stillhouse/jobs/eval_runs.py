"""What an eval's run does: asks a model about every row (or takes the answers that are there), has them graded, adds them up.

Rows are done in blocks. A block that is whole is kept with the run, what was said since is in a journal beside it; so a run that
was killed asks again only what was under way, and its answers can be read while it goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from stillhouse.apply import Journal, Outcome, Remembering
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk
from stillhouse.errors import ConflictError, StillhouseError, UsageError
from stillhouse.eval_config import CompletionRow, ContentRow, JsonlSource
from stillhouse.evaluation import Candidate, Memory, Plan, answer_all, warm
from stillhouse.evaluation.blocks import ROWS, put_block
from stillhouse.evaluation.cases import Case, case_id, messages_for, with_output_text
from stillhouse.evaluation.erasing import DELETED, erased
from stillhouse.evaluation.pairwise import win_rate
from stillhouse.evaluation.schemas import checked
from stillhouse.evaluation.scoring import result
from stillhouse.gateway import Gateway
from stillhouse.grade import Answered, Grader, GradingError, Report
from stillhouse.graders.building import build
from stillhouse.grading import means_of
from stillhouse.jobs.claim import Claim, answer
from stillhouse.jobs.contamination import contamination_of, messages_of
from stillhouse.jobs.eval_answers import answered_rows
from stillhouse.jobs.eval_comparing import slim
from stillhouse.jobs.eval_graders import Named, criterion_names
from stillhouse.jobs.eval_rows import RowFiles, journal_path, read_rows, rows_of_source, run_files, stored_ids
from stillhouse.jobs.evals import EVAL_RUN, EvalRecord, EvalRunRecord, find_eval, find_run
from stillhouse.jobs.forgetting import erase_in
from stillhouse.jobs.stoppable import run_stoppable
from stillhouse.prices import load_prices
from stillhouse.records import fingerprint
from stillhouse.routing import Renamed
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.workspace import Workspace

STORE_SECONDS = 300.0
"""How long a write is offered to a store that is away."""
HOPELESS = 20
"""Rows; where a judge answers for none of a block with so many, the run ends: its result would only measure the outage."""
OUTAGE = "model_grader_server_error"
ROLE = "model"
"""Of the one candidate."""


def work(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """The work of a run of kind `eval`. Raises StillhouseError."""
    workspace = Workspace(settings)
    workspace.share()
    try:
        return run_stoppable(claim, _EvalWork(workspace, run, claim).go())
    finally:
        workspace.close()


class _EvalWork:
    def __init__(self, workspace: Workspace, run: Run, claim: Claim) -> None:
        self._settings = workspace.settings
        self._workspace = workspace
        self._run = run
        self._claim = claim
        found = find_run(workspace.store, run.id)
        self._eval: EvalRecord = find_eval(workspace.store, found.eval)[1]
        self._record: EvalRunRecord = found.record
        self._source = found.record.source
        self._files = run_files(self._settings, run.id)
        self._gateway = Gateway(workspace.store, self._settings)
        self._theirs: dict[str, str] | None = None
        self._names = criterion_names(self._eval.testing_criteria)
        self._plan = Plan(name=found.record.name, dataset=found.eval, concurrency=found.record.options.concurrency)

    async def go(self) -> dict[str, Any]:
        self._change({"epoch": self._claim.epoch}, mine=False)
        rows = self._rows()
        self._gateway.refresh()
        try:
            candidate = self._candidate()
            await self._blocks(rows, candidate)
        finally:
            await self._gateway.close()
        return self._ended(candidate)

    def _rows(self) -> RowFiles:
        """The run's rows, made fast at its first start."""
        rows = self._record.rows
        if rows is None:
            store = self._workspace.store
            held = next(iter(self._record.held), "")
            rows = rows_of_source(store, self._settings, self._source, self._eval.config, self._run.id, held)
            self._change({"rows": rows.model_dump(mode="json")})
        if not rows.count:
            raise UsageError("The data source holds no row: nothing that is stored has this model, metadata and time.")
        return rows

    def _candidate(self) -> Candidate:
        name = self._record.model
        if not name:
            return Candidate(ROLE, name, _Nobody())
        target = self._gateway.router.resolve(name)
        artifact = self._workspace.store.artifact(target.upstream)
        return Candidate(
            role=ROLE,
            name=name,
            model=Renamed(target.model, target.name),
            parameters=artifact.parameters if artifact else None,
            size_bytes=artifact.size_bytes if artifact else None,
            local=artifact is not None,
        )

    async def _blocks(self, rows: RowFiles, candidate: Candidate) -> None:
        cases, done = self._cases(rows), sum(block.rows for block in self._record.blocks)
        if candidate.local:
            await warm(candidate, list(islice(self._cases(rows), 1)))
        cases = islice(cases, done, None)
        while some := list(islice(cases, ROWS)):
            path = journal_path(self._settings, self._run.id, len(self._record.blocks))
            with Journal(path, Outcome) as journal:
                answered = await self._answered(some, done, rows.count, candidate, journal)
                self._keep(answered)
                journal.drop()
            done += len(some)
            self._claim.progress(done, rows.count)

    async def _answered(
        self, cases: Sequence[Case], done: int, total: int, candidate: Candidate, journal: Journal[Outcome]
    ) -> list[Answered]:
        known = journal.items()
        graders = self._graders(known, journal.add)
        memory = Memory(seen={outcome.key: outcome for outcome in known}, keep=journal.add)
        rows = await answer_all(
            candidate,
            cases,
            graders,
            self._plan,
            memory,
            lambda now, _: self._claim.progress(done + min(now, len(cases)), total),
            whole=True,
        )
        for name in self._names if len(rows) >= HOPELESS else ():
            reasons = [row.ungraded[name] for row in rows if row.ungraded.get(name, "").startswith(OUTAGE)]
            if len(reasons) == len(rows):
                raise GradingError(f"The grader '{name}' could grade none of {len(rows)} answers in a row: {reasons[-1]}")
        return rows

    def _graders(self, known: Sequence[Outcome], keep: Callable[[Outcome], None]) -> list[Grader]:
        """Afresh for each block: their judges say again what they said in it before."""
        judges: dict[str, ChatModel] = {}

        def judge(name: str) -> ChatModel:
            if name not in judges:
                target = self._gateway.router.resolve(name)
                judges[name] = Remembering(Renamed(target.model, target.name), known, keep)
            return judges[name]

        means = means_of(self._settings, self._gateway.router.resolve, judge)
        return [Named(build(config, means), name) for name, config in zip(self._names, self._eval.testing_criteria, strict=True)]

    def _cases(self, rows: RowFiles) -> Iterator[Case]:
        read = read_rows(self._workspace.store, self._settings, rows, self._run.id)
        ids, counted = Counter[str](), checked(read, self._eval.config, in_run=True)
        for row in counted:
            yield self._case(row, case_id(row.item, ids))

    def _case(self, row: ContentRow, identifier: str) -> Case:
        completion = row.completion if isinstance(row, CompletionRow) else None
        if isinstance(row, CompletionRow) and row.deleted:
            return Case(f"deleted-{completion}", {"deleted": DELETED}, error=DELETED)
        theirs = self._teacher().get(identifier)
        item = row.item if theirs is None else {**row.item, "teacher": theirs}
        if isinstance(self._source, JsonlSource) or not self._record.model:
            return Case(identifier, item, sample=with_output_text(row.sample or {}), completion=completion)
        try:
            messages = messages_for(self._source.input_messages, item)
        except StillhouseError as exc:
            return Case(identifier, item, error=str(exc), completion=completion)
        sampling = self._source.sampling_params
        parameters = sampling.parameters if sampling is not None else {}
        request = ChatRequest.build(self._record.model, messages, **parameters)
        return Case(identifier, item, request=request, completion=completion)

    def _teacher(self) -> dict[str, str]:
        """Case -> what the run that this one is set against answered."""
        other = self._record.options.teacher
        if self._theirs is None and other is not None:
            store = self._workspace.store
            rows = answered_rows(store, self._settings, find_run(store, other))
            self._theirs = {row.example: row.answer for row in rows if row.answer is not None}
        return self._theirs or {}

    def _keep(self, rows: Sequence[Answered]) -> None:
        """A block more. What was deleted since it was read is erased: before it is kept, or, where that came between, after."""
        tally = self._record.tally.plus(rows, self._names)
        with self._files.changing():  # whoever deletes rewrites blocks, and removes those that no record names
            block = put_block([erased(row) if self._is_gone(row) else row for row in rows], self._files.put)
            now = self._claim.insist(partial(find_run, run_id=self._run.id), STORE_SECONDS).record
            self._record = now.model_copy(update={"blocks": (*now.blocks, block), "tally": tally})
            self._change(self._record.model_dump(mode="json", include={"blocks", "tally"}))
        self._erase({row.completion for row in rows if row.completion is not None and self._is_gone(row)})

    def _erase(self, gone: Collection[str]) -> None:
        """What was deleted while it was read."""
        if gone:
            erase_in(self._workspace.store, self._settings, find_run(self._workspace.store, self._run.id), gone)
            self._record = find_run(self._workspace.store, self._run.id).record

    def _kept_rows(self) -> Iterator[Answered]:
        """Every row, as it is by now."""
        store = self._workspace.store
        return answered_rows(store, self._settings, find_run(store, self._run.id))

    def _is_gone(self, row: Answered) -> bool:
        return row.completion is not None and self._workspace.store.completion(row.completion) is None

    def _ended(self, candidate: Candidate) -> dict[str, Any]:
        """The report, as every evaluation has one, and what is known of the model's training data."""
        report = self._report(candidate)
        self._claim.insist(lambda store: answer(store.put_report(report)), STORE_SECONDS)
        contamination = self._contamination()
        self._change({"report": report.id, "contamination": contamination, "pairwise": self._pairwise()})
        if self._record.rows is not None and contamination and contamination["pairs"]:  # of texts that were read before
            asked = {stored.completion for stored in stored_ids(self._record.rows, self._files)}
            self._erase({one for one in asked if self._workspace.store.completion(one) is None})
        return {"report": report.id}

    def _report(self, candidate: Candidate) -> Report:
        rows = [slim(row) for row in self._kept_rows()]
        prices = load_prices(self._settings.prices)
        return Report(
            id=f"report-{self._run.id.partition('-')[2]}",
            name=self._record.name,
            created=int(time.time()),
            dataset=fingerprint(*(row.example.encode() for row in rows)),
            split="test",
            examples=len(rows),
            graders=tuple(self._names),
            results=(result(candidate, rows, self._names, self._plan, prices=prices),),
            settings={"eval": self._run.spec["eval"], "run": self._run.id, "concurrency": self._plan.concurrency},
        )

    def _contamination(self) -> dict[str, Any] | None:
        """What the model was trained on beside what it was asked here; None where no model was asked."""
        if not self._record.model:
            return None
        rows = self._kept_rows()
        asked = ((row.sample or {}).get("input") or messages_of(row.item or {}) for row in rows)
        return contamination_of(self._workspace, self._record.model, asked).model_dump(mode="json")

    def _pairwise(self) -> dict[str, Any]:
        """Wins, ties and losses of each pairwise criterion."""
        kinds = zip(self._names, self._eval.testing_criteria, strict=True)
        wanted = [name for name, criterion in kinds if criterion.get("type") == "pairwise"]
        rows = [slim(row) for row in self._kept_rows()] if wanted else []
        found = {name: win_rate(rows, name) for name in wanted}
        return {name: rate.model_dump(mode="json") for name, rate in found.items() if rate is not None}

    def _change(self, changes: Mapping[str, object], *, mine: bool = True) -> None:
        """Write to the run's document, as long as no later worker does. Raises ConflictError."""
        expect = {"epoch": [self._claim.epoch]} if mine else {}
        write = partial(_written, run_id=self._run.id, changes=changes, expect=expect)
        if self._claim.insist(write, STORE_SECONDS) is None:
            raise ConflictError(f"The run {self._run.id} was deleted, or another worker has it now.")


def _written(store: Store, run_id: str, changes: Mapping[str, object], expect: Mapping[str, Sequence[object]]) -> object:
    return answer(store.change_document(EVAL_RUN, run_id, changes, expect))


class _Nobody:
    """Where the answers are there already."""

    async def complete(self, request: ChatRequest) -> ChatResponse:
        raise AssertionError("nothing is asked where no model is named")

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise AssertionError("nothing is asked where no model is named")

    async def close(self) -> None:
        """There is nothing to close."""
