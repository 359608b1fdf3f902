"""Servers and workers killed at random over a mixed queue: no run lost, none run twice, every end as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from stillhouse.artifact import Artifact
from stillhouse.batch import Batch
from stillhouse.evaluation.blocks import rows_in
from stillhouse.formats.examples import each_example
from stillhouse.jobs import batches, evals, processes, queue
from stillhouse.jobs.eval_rows import run_files
from stillhouse.jobs.labels import Wish, plan_labelling
from stillhouse.run import FINAL_STATES, OPEN_STATES, Run
from stillhouse.upstream import Upstream
from stillhouse.workspace import Workspace, dataset_folder
from tests.fakes.server import LiveServer
from tests.fakes.upstream import FakeUpstream, answer_to
from tests.jobs import test_batches
from tests.jobs.conftest import Bench, until

RECIPE = {
    "name": "tiny",
    "student": {"kind": "causal", "base": "builtin:base"},
    "training": {"steps": 8, "batch_size": 2, "threads": 1, "checkpoint_every": 1, "max_tokens": 32},
}
PATIENCE_SECONDS = 600.0
ASKED = 60
"""Requests of a batch, rows of an eval, questions of a labelling."""
AT_ONCE = 2
"""Questions that a labelling has under way."""
WAITING = 8
"""Runs that wait or work while it is killed."""


@dataclass
class Queue:
    """What was submitted, and what is expected of it."""

    bench: Bench
    chance: random.Random
    counts: list[Run] = field(default_factory=list)
    trainings: list[Run] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    evals: list[evals.EvalRun] = field(default_factory=list)
    labellings: list[Run] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=lambda: {"server": 0, "worker": 0})

    def submit(self, kind: str, **fields: object) -> Run:
        given = {"kind": kind, "max_attempts": 1000, "priority": self.chance.randrange(3), **fields}
        return queue.submit(self.bench.store, self.bench.settings, self.bench.new_run().model_copy(update=given))

    def submit_count(self) -> None:
        steps = self.chance.randrange(20, 100)
        fails = {"fail_at": self.chance.randrange(1, steps)} if self.chance.random() < 0.2 else {}
        spec = {"steps": steps, "seconds": 0.05, **fails}
        self.counts.append(self.submit("count", resource=self.chance.choice(("cpu", "network")), spec=spec))

    def submit_training(self) -> Run:
        self.trainings.append(self.submit("train", spec={"recipe": RECIPE, "dataset": self.bench.fingerprint}, priority=5))
        return self.trainings[-1]

    def submit_batch(self) -> None:
        rows = [test_batches.request(number, fault={"delay": 0.1}) for number in range(ASKED)]
        self.batches.append(test_batches.begin(self.bench, *rows))
        self.unbounded(self.batches[-1].run)

    def submit_eval(self) -> None:
        """Whose answers are right, all of them."""
        asked = [{"role": "user", "content": "{{item.question}}"}]
        questions = [f"{number}?" for number in range(ASKED)]
        answers = [answer_to({"messages": [{"role": "user", "content": question}]}) for question in questions]
        pairs = zip(questions, answers, strict=True)
        content = [{"item": {"question": question, "answer": answer}} for question, answer in pairs]
        source = {
            "type": "completions",
            "model": "gpt-4o",
            "source": {"type": "file_content", "content": content},
            "input_messages": {"type": "template", "template": asked},
        }
        grader = {"type": "string_check", "name": "same", "operation": "eq"}
        words = {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
        config = {"type": "custom", "include_sample_schema": True, "item_schema": {"type": "object", "properties": {}}}
        record = evals.EvalRecord(
            name="right", data_source_config=config, testing_criteria=[{**grader, **words}], updated_at=int(time.time())
        )
        store, settings = self.bench.store, self.bench.settings
        made = evals.create_eval(store, record)
        parsed, options = evals.SOURCES.validate_python(source), evals.RunOptions(concurrency=2)
        self.evals.append(evals.create_run(store, settings, made.id, parsed, name="right", metadata={}, options=options))
        self.unbounded(self.evals[-1].id)

    def submit_labelling(self) -> None:
        """Of questions that no other labelling asks."""
        number = len(self.labellings)
        source = self.bench.settings.data_dir.parent / f"questions-{number}.txt"
        source.write_text("\n".join(f"labelling {number}: {random.Random(f'{number} {i}').random()}?" for i in range(ASKED)))
        parameters = {"fault": {"delay": 0.1}}
        wish = Wish(source=str(source), model="gpt-4o", out=f"labelled-{number}", parameters=parameters, concurrency=AT_ONCE)
        workspace = Workspace(self.bench.settings)
        workspace.share()
        try:
            planned = plan_labelling(workspace, wish)
        finally:
            workspace.close()
        self.labellings.append(queue.submit(self.bench.store, self.bench.settings, planned))
        self.unbounded(planned.id)

    def unbounded(self, run_id: str) -> None:
        """Chance may kill one run many times before it gets anywhere."""
        run = queue.find_run(self.bench.store, run_id)
        self.bench.store.update_run(run_id, run.epoch, {"max_attempts": 1000}).result()

    @property
    def ids(self) -> list[str]:
        """Of every run."""
        runs = [run.id for run in (*self.counts, *self.trainings, *self.labellings)]
        return [*runs, *(batch.run for batch in self.batches), *(asked.id for asked in self.evals)]

    def fill(self) -> None:
        """Something is always left to do."""
        while sum(run.state not in FINAL_STATES for run in self.bench.store.unannounced_runs()) < WAITING:
            self.chance.choice((self.submit_batch, self.submit_eval, self.submit_labelling, *[self.submit_count] * 8))()

    def kill_worker(self) -> None:
        """Any but the training that the other is compared with: most in the middle of their work, some on their way to it."""
        least = self.chance.choice((0, 1, 1, 1))
        until(lambda: bool(self.alive(least)), lambda: "a worker", PATIENCE_SECONDS)
        if victims := self.alive(least):
            self.kill(self.chance.choice(victims))

    def kill_at(self, run_id: str, step: int) -> None:
        """One run's worker, once it has come so far, unless it is too quick for that."""

        def there() -> list[Run]:
            return [run for run in self.alive(step) if run.id == run_id and run.state == "running"]

        def ended() -> bool:
            return queue.find_run(self.bench.store, run_id).state in FINAL_STATES

        until(lambda: bool(there()) or ended(), lambda: f"step {step} of {run_id}", PATIENCE_SECONDS)
        for run in there():
            self.kill(run)

    def kill(self, run: Run) -> None:
        assert run.pid is not None
        with suppress(ProcessLookupError):  # it ended just now
            os.kill(run.pid, signal.SIGKILL)
            self.kills["worker"] += 1

    def alive(self, least: int) -> list[Run]:
        """Runs whose worker lives and which have come to this step."""
        runs = self.bench.store.unannounced_runs()
        alive = [run for run in runs if run.pid and run.boot and processes.state_of(run.pid, run.boot) == "alive"]
        return [run for run in alive if run.state in OPEN_STATES and run.step >= least and run.id != self.trainings[0].id]


def kill_loop(bench: Bench, upstream: FakeUpstream, kills: int) -> str:
    work = Queue(bench, random.Random(kills))
    limits = {"STILLHOUSE_JOBS_CPU": "2", "STILLHOUSE_JOBS_NETWORK": "2", "STILLHOUSE_BATCH_CONCURRENCY": "3"}
    server = LiveServer(bench.settings.data_dir, 0, **limits).start()
    try:
        work.submit_training()
        disturbed = work.submit_training()
        work.submit_batch()
        work.submit_eval()
        work.submit_labelling()
        work.kill_at(work.evals[0].id, 0)
        work.kill_at(work.batches[0].run, 1)
        work.kill_at(work.labellings[0].id, 1)
        work.kill_at(disturbed.id, 2)
        while sum(work.kills.values()) < kills:
            work.fill()
            time.sleep(work.chance.uniform(0.0, 1.0))  # the moment of the kill is what is random here
            if work.kills["server"] and work.chance.random() < 0.6:
                work.kill_worker()
            else:
                server.kill()
                work.kills["server"] += 1
                server.start()
        until_ended(work)
    finally:
        server.kill()
    check(work)
    check_labellings(work, upstream)
    return f"{work.kills}, {len(work.ids)} runs: 0 lost, 0 run twice"


def until_ended(work: Queue) -> None:
    def left() -> list[tuple[str, str, int]]:
        runs = [queue.find_run(work.bench.store, identifier) for identifier in work.ids]
        return [(run.kind, run.state, run.step) for run in runs if not (run.state in FINAL_STATES and run.announced)]

    until(lambda: not left(), lambda: f"{left()}", PATIENCE_SECONDS)


def check(work: Queue) -> None:
    bench = work.bench
    for run in work.counts:
        ended, trace = queue.find_run(bench.store, run.id), bench.trace(run)
        steps, fail_at = run.spec["steps"], run.spec.get("fail_at")
        reached = steps if fail_at is None else fail_at - 1
        assert [step for _, step in trace] == sorted({step for _, step in trace}), "two workers had one run"
        assert [epoch for epoch, _ in trace] == sorted(epoch for epoch, _ in trace), "a worker went on that had lost its run"
        sums = {event.step: event.metrics["sum"] for event in bench.store.events(run.id) if event.metrics}
        assert sums == {step: step * (step + 1) / 2 for step in range(1, reached + 1)}
        if fail_at is None:
            assert (ended.state, ended.result) == ("succeeded", {"sum": steps * (steps + 1) // 2})
        else:
            assert (ended.state, ended.error) == ("failed", f"it was told to fail at step {fail_at}")
    undisturbed, disturbed = (student_of(bench, run) for run in work.trainings)
    assert disturbed.hashes == undisturbed.hashes
    assert len(bench.store.artifacts()) == len(work.trainings)
    for batch in work.batches:
        done = batches.look(bench.store, bench.settings, batch.id)
        assert (done.status, done.completed, done.failed) == ("completed", ASKED, 0)
        assert sorted(test_batches.answered(bench, done.output_file_id), key=int) == [str(number) for number in range(ASKED)]
    for asked in work.evals:
        evaluated = evals.find_run(bench.store, asked.id).record
        rows = list(rows_in(evaluated.blocks, run_files(bench.settings, asked.id).get))
        assert (evaluated.tally.standings, len({row.example for row in rows})) == ({"pass": ASKED}, ASKED)
        assert [report.id for report in bench.store.reports("right")].count(str(evaluated.report)) == 1
    assert len(bench.store.reports("right")) == len(work.evals)
    assert sorted(run.id for run in bench.store.runs(limit=10_000)) == sorted(work.ids)


def check_labellings(work: Queue, upstream: FakeUpstream) -> None:
    """Each question answered once, and paid for once but for what was under way at a kill."""
    asked = [str(served.body["messages"][-1]["content"]) for served in upstream.ledger if served.whole]
    for number, run in enumerate(work.labellings):
        ended, dataset = queue.find_run(work.bench.store, run.id), work.bench.store.dataset(f"labelled-{number}")
        assert ended.state == "succeeded", ended.error
        assert dataset is not None and dataset.fingerprint == ended.result["dataset"]
        assert len(work.bench.store.datasets(dataset.name)) == 1
        folder = dataset_folder(work.bench.settings, dataset.fingerprint)
        sources = [each.source for split in dataset.files for each in each_example(folder, split)]
        assert len(sources) == len(set(sources)) == ASKED - sum(dataset.removed.values())
        assert set(dataset.removed) <= {"near duplicate"}
        assert ASKED <= sum(text.startswith(f"labelling {number}:") for text in asked) <= ASKED + ended.epoch * AT_ONCE


def student_of(bench: Bench, run: Run) -> Artifact:
    artifact = bench.store.artifact(str(queue.find_run(bench.store, run.id).result["artifact"]))
    assert artifact is not None
    return artifact


@pytest.fixture(autouse=True)
def upstream(bench: Bench) -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        bench.store.put_upstream(Upstream(name="fake", base_url=upstream.base_url, models=("gpt-4o",))).result()
        yield upstream


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_kills(bench: Bench, upstream: FakeUpstream) -> None:
    pytest.importorskip("transformers", reason="needs the extra [train]")
    print(kill_loop(bench, upstream, 5))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_hundred_kills(bench: Bench, upstream: FakeUpstream) -> None:
    pytest.importorskip("transformers", reason="needs the extra [train]")
    print(kill_loop(bench, upstream, 100))
