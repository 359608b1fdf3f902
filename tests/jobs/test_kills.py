"""Servers and workers killed at random over a mixed queue: no run lost, none run twice, every end as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field

import pytest

from stillhouse.artifact import Artifact
from stillhouse.jobs import processes, queue
from stillhouse.run import FINAL_STATES, OPEN_STATES, Run
from tests.fakes.server import LiveServer
from tests.jobs.conftest import Bench, until

LIMITS = {"STILLHOUSE_JOBS_CPU": "2", "STILLHOUSE_JOBS_NETWORK": "2"}
RECIPE = {
    "name": "tiny",
    "student": {"kind": "causal", "base": "builtin:base"},
    "training": {"steps": 8, "batch_size": 2, "threads": 1, "checkpoint_every": 1, "max_tokens": 32},
}
PATIENCE_SECONDS = 600.0
WAITING = 8
"""Runs that wait or work while it is killed."""


@dataclass
class Queue:
    """What was submitted, and what is expected of it."""

    bench: Bench
    chance: random.Random
    counts: list[Run] = field(default_factory=list)
    trainings: list[Run] = field(default_factory=list)
    kills: dict[str, int] = field(default_factory=lambda: {"server": 0, "worker": 0})

    def submit(self, kind: str, **fields: object) -> Run:
        given = {"kind": kind, "max_attempts": 1000, "priority": self.chance.randrange(3), **fields}
        return queue.submit(self.bench.store, self.bench.settings, self.bench.new_run().model_copy(update=given))

    def submit_count(self) -> None:
        steps = self.chance.randrange(5, 60)
        fails = {"fail_at": self.chance.randrange(1, steps)} if self.chance.random() < 0.2 else {}
        spec = {"steps": steps, "seconds": 0.02, **fails}
        self.counts.append(self.submit("count", resource=self.chance.choice(("cpu", "network")), spec=spec))

    def submit_training(self) -> Run:
        self.trainings.append(self.submit("train", spec={"recipe": RECIPE, "dataset": self.bench.fingerprint}, priority=5))
        return self.trainings[-1]

    def fill(self) -> None:
        """Something is always left to do."""
        while sum(run.state not in FINAL_STATES for run in self.bench.store.unannounced_runs()) < WAITING:
            self.submit_count()

    def kill_worker(self) -> None:
        """Any but the training that the other is compared with, wherever it is just now."""
        until(lambda: bool(self.working()), lambda: "a worker", PATIENCE_SECONDS)
        victims = self.working()
        if victims and (pid := self.chance.choice(victims).pid) is not None:
            os.kill(pid, signal.SIGKILL)
            self.kills["worker"] += 1

    def working(self) -> list[Run]:
        runs = self.bench.store.unannounced_runs()
        alive = [run for run in runs if run.pid and run.boot and processes.state_of(run.pid, run.boot) == "alive"]
        return [run for run in alive if run.state in OPEN_STATES and run.id != self.trainings[0].id]


def kill_loop(bench: Bench, kills: int) -> str:
    work = Queue(bench, random.Random(kills))
    server = LiveServer(bench.settings.data_dir, **LIMITS).start()
    try:
        work.submit_training()
        disturbed = work.submit_training()
        work.fill()
        until(lambda: bench.look(disturbed).step >= 2, lambda: f"a checkpoint; {bench.printed(disturbed)}", PATIENCE_SECONDS)
        bench.kill(disturbed)
        work.kills["worker"] += 1
        while sum(work.kills.values()) < kills:
            work.fill()
            time.sleep(work.chance.uniform(0.0, 1.0))  # the moment of the kill is what is random here
            if work.chance.random() < 0.6:
                work.kill_worker()
            else:
                server.kill()
                work.kills["server"] += 1
                server.start()
        until_ended(work)
    finally:
        server.kill()
    check(work)
    return f"{work.kills}, {len(work.counts)} counts, {len(work.trainings)} trainings: 0 lost, 0 run twice"


def until_ended(work: Queue) -> None:
    ids = {run.id for run in (*work.counts, *work.trainings)}

    def left() -> list[tuple[str, str, int]]:
        runs = [queue.find_run(work.bench.store, identifier) for identifier in ids]
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
    assert len(bench.store.runs(limit=10_000)) == len(work.counts) + len(work.trainings)


def student_of(bench: Bench, run: Run) -> Artifact:
    artifact = bench.store.artifact(str(queue.find_run(bench.store, run.id).result["artifact"]))
    assert artifact is not None
    return artifact


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_kills(bench: Bench) -> None:
    pytest.importorskip("transformers", reason="needs the extra [train]")
    print(kill_loop(bench, 5))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_hundred_kills(bench: Bench) -> None:
    pytest.importorskip("transformers", reason="needs the extra [train]")
    print(kill_loop(bench, 100))
