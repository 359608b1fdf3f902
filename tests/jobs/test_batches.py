"""Batches whose worker is killed, whose run is ended from elsewhere, whose time runs out: nothing lost, little asked twice."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from stillhouse.batch import Batch
from stillhouse.completion import CompletionQuery
from stillhouse.errors import ConflictError
from stillhouse.filing import Filing
from stillhouse.jobs import batches, queue
from stillhouse.run import Run
from stillhouse.upstream import Upstream
from tests.fakes.upstream import FakeUpstream
from tests.jobs.conftest import Bench, until

ENDPOINT = "/v1/chat/completions"
CONCURRENCY = 3


@pytest.fixture
def upstream(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeUpstream]:
    monkeypatch.setenv("STILLHOUSE_BATCH_CONCURRENCY", str(CONCURRENCY))
    with FakeUpstream() as upstream:
        bench.store.put_upstream(Upstream(name="fake", base_url=upstream.base_url, models=("gpt-4o",))).result()
        yield upstream


def request(number: int, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"{number}?"}]
    return {
        "custom_id": str(number),
        "method": "POST",
        "url": ENDPOINT,
        "body": {"model": "gpt-4o", "messages": messages, **body},
    }


def begin(bench: Bench, *rows: dict[str, Any]) -> Batch:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    file = Filing(bench.store, bench.settings).keep(content, "in.jsonl", "batch")
    return batches.create(bench.store, bench.settings, file, ENDPOINT, metadata={})


def run_of(bench: Bench, batch: Batch) -> Run:
    run = bench.store.run(batch.run)
    assert run is not None
    return run


def until_status(bench: Bench, batch: Batch, status: str) -> Batch:
    def look() -> Batch:
        return batches.look(bench.store, bench.settings, batch.id)

    until(lambda: look().status == status, lambda: f"{status}; it is {look()}; {bench.printed(run_of(bench, batch))}")
    return look()


def answered(bench: Bench, file_id: str | None) -> list[str]:
    if file_id is None:
        return []
    return [
        json.loads(line)["custom_id"] for line in Filing(bench.store, bench.settings).path_of(file_id).read_bytes().splitlines()
    ]


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=[pytest.mark.full, pytest.mark.timeout(900)])])
def test_a_killed_batch_goes_on_and_asks_again_only_what_was_under_way(bench: Bench, upstream: FakeUpstream, kills: int) -> None:
    count = 12 * (kills + 1)
    held = range(8, 8 + CONCURRENCY)  # until the first kill is over: it comes in the middle on the slowest machine, too
    batch = begin(bench, *(request(n, fault={"wait": True} if n in held else {"delay": 0.05}) for n in range(count)))
    for kill in range(kills):
        upstream.wait_for(12 * kill + 8 if kill else 8 + CONCURRENCY)
        bench.kill(run_of(bench, batch))
        interrupted = bench.until_state(run_of(bench, batch), "interrupted")
        upstream.release.set()
        bench.resume(interrupted)
    done = until_status(bench, batch, "completed")
    assert (done.total, done.completed, done.failed) == (count, count, 0)
    assert sorted(answered(bench, done.output_file_id), key=int) == [str(n) for n in range(count)]
    asked = Counter(entry.body["messages"][0]["content"] for entry in upstream.ledger)
    assert len(asked) == count and sum(asked.values()) <= count + kills * CONCURRENCY
    assert bench.until_state(run_of(bench, batch), "succeeded").result == {"batch": batch.id, "status": "completed"}


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_a_killed_worker_had_under_way_is_interrupted(bench: Bench, upstream: FakeUpstream, goes_on: bool) -> None:
    batch = begin(bench, *(request(n, store=True, fault={"wait": True}) for n in range(CONCURRENCY)))
    upstream.wait_for(CONCURRENCY)
    bench.kill(run_of(bench, batch))
    run = bench.until_state(run_of(bench, batch), "interrupted")
    upstream.release.set()
    if goes_on:
        bench.resume(run)
    else:
        bench.store.update_run(run.id, run.epoch, {"state": "failed", "error": "It died five times."}).result()
    until_status(bench, batch, "completed" if goes_on else "failed")
    every = CompletionQuery(states=("started", "interrupted", "complete", "failed"))
    states = Counter(completion.state for completion in bench.store.completions(every).items)
    assert states == {"interrupted": CONCURRENCY, **({"complete": CONCURRENCY} if goes_on else {})}


def test_a_run_that_is_paused_goes_on_later(bench: Bench, upstream: FakeUpstream) -> None:
    batch = begin(bench, *(request(n, fault={"wait": True} if n >= 4 else {}) for n in range(12)))
    upstream.wait_for(4 + CONCURRENCY)
    queue.pause(bench.store, bench.settings, run_of(bench, batch))
    run = bench.until_state(run_of(bench, batch), "paused")
    assert batches.look(bench.store, bench.settings, batch.id).status == "in_progress"
    upstream.release.set()
    bench.resume(run)
    assert until_status(bench, batch, "completed").completed == 12


def test_a_run_that_is_cancelled_by_hand_cancels_its_batch(bench: Bench, upstream: FakeUpstream) -> None:
    batch = begin(bench, request(0), *(request(n, fault={"wait": True}) for n in range(1, 6)))
    upstream.wait_for(4)
    queue.cancel(bench.store, bench.settings, run_of(bench, batch))
    done = until_status(bench, batch, "cancelled")
    assert answered(bench, done.output_file_id) == ["0"] and len(answered(bench, done.error_file_id)) == 5


def test_one_whose_worker_dies_while_it_is_cancelled_is_ended_by_whoever_looks(bench: Bench, upstream: FakeUpstream) -> None:
    batch = begin(bench, request(0), *(request(n, fault={"wait": True}) for n in range(1, 6)))
    upstream.wait_for(4)
    until(lambda: batches.find(bench.store, batch.id).completed == 1, lambda: "the first answer")
    now = {"status": "cancelling", "cancelling_at": int(time.time())}
    bench.store.update_run(batch.run, run_of(bench, batch).epoch, {"state": "cancelling"}).result()
    bench.kill(run_of(bench, batch))
    batches.change(bench.store, batch.id, now, ("in_progress",))
    done = until_status(bench, batch, "cancelled")
    assert answered(bench, done.output_file_id) == ["0"] and len(answered(bench, done.error_file_id)) == 5
    with pytest.raises(ConflictError):
        queue.pause(bench.store, bench.settings, run_of(bench, batch))


def test_one_that_cannot_go_on_fails_with_what_it_has(bench: Bench, upstream: FakeUpstream) -> None:
    batch = begin(bench, request(0), *(request(n, fault={"wait": True}) for n in range(1, 6)))
    upstream.wait_for(4)
    until(lambda: batches.find(bench.store, batch.id).completed == 1, lambda: "the first answer")
    bench.kill(run_of(bench, batch))
    run = bench.until_state(run_of(bench, batch), "interrupted")
    bench.store.update_run(run.id, run.epoch, {"state": "failed", "error": "It died five times."}).result()
    done = until_status(bench, batch, "failed")
    assert [problem.message for problem in done.errors] == ["It died five times."]
    assert answered(bench, done.output_file_id) == ["0"]


def test_when_the_day_is_over_the_rest_is_told_so(bench: Bench, upstream: FakeUpstream) -> None:
    batch = begin(bench, request(0), *(request(n, fault={"wait": True}) for n in range(1, 6)))
    upstream.wait_for(4)
    bench.kill(run_of(bench, batch))
    run = bench.until_state(run_of(bench, batch), "interrupted")
    batches.change(bench.store, batch.id, {"expires_at": int(time.time())}, ("in_progress",))
    bench.resume(run)
    done = until_status(bench, batch, "expired")
    assert done.expired_at is not None and done.total == 6
    path = Filing(bench.store, bench.settings).path_of(done.error_file_id or "")
    told = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert {row["error"]["code"] for row in told} == {"batch_expired"} and len(told) == 6 - done.completed


def test_an_upstream_that_is_overloaded_for_a_while_costs_no_answer(bench: Bench, upstream: FakeUpstream) -> None:
    fault = {"status": [429, 503], "retry_after": 0}
    done = until_status(bench, begin(bench, *(request(n, fault=fault) for n in range(4))), "completed")
    assert (done.completed, done.failed) == (4, 0)


def test_a_batch_without_its_run_gets_it_again(bench: Bench, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batches, "_submit", lambda *_: None)  # killed between the two writes
        batch = begin(bench, request(0))
    assert batches.look(bench.store, bench.settings, batch.id).status == "validating"
    assert bench.store.run(batch.run) is None
    monkeypatch.setattr(batches, "LOST_SECONDS", -1)
    assert until_status(bench, batch, "completed").completed == 1
