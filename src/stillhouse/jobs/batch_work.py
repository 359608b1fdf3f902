"""The run of a batch: its lines are checked, its requests asked through the server's own handlers, its answers kept one by one.

Killed at any moment and started again, it goes on after the last answer that reached the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson

from stillhouse.api.answering import asking_resources, handlers_of, reply_to
from stillhouse.api.asgi import Reply, json_bytes
from stillhouse.api.endpoint import Handler
from stillhouse.api.errors import envelope, error_reply
from stillhouse.apply import Journal, Limit, Patience
from stillhouse.batch import ENDED, Batch, BatchProblem, BatchUsage
from stillhouse.bulk import Answer, Answering, Counts, Trying, answer_all, answers
from stillhouse.capture import Recorder
from stillhouse.errors import NotFoundError, StillhouseError, StoreError
from stillhouse.filing import Filing
from stillhouse.formats.batch_requests import BatchRequest, Unfit, read_requests
from stillhouse.gateway import Gateway
from stillhouse.ids import new_id, uuid7_hex
from stillhouse.jobs.batches import Ended, change, end, find, journal_of
from stillhouse.jobs.claim import BEAT_SECONDS, Claim
from stillhouse.metering import Meter
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.stores.opening import open_store

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 0.25
"""Between two looks at whether the batch was cancelled or is over."""
TELL_SECONDS = 1.0
"""Between two times that its counts are written."""
STORE_SECONDS = 300.0
"""How long a store that is away is waited for."""
DRAIN_SECONDS = 10.0
SHOWN = 100
"""Wrong lines that the batch names."""
PATIENCE = Patience(attempts=8, longest_wait=60.0)
"""A batch has a day: an upstream that is overloaded or away for some minutes costs it no answer."""


def work(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """See `stillhouse.jobs`. The run succeeds when the batch has ended, whatever became of its requests."""
    store = open_store(settings, role="worker")
    try:
        batch = find(store, str(run.spec["batch"]))
        if batch.status in ENDED:
            return {"batch": batch.id, "status": batch.status}
        with journal_of(settings, batch) as journal:
            _insist(lambda: store.interrupt_completions(run.id).result())  # those of a worker that died on it
            batch = _insist(lambda: _checked(store, settings, batch))
            ended = _answer(store, settings, batch, journal, run, claim)
            if ended is None or claim.fenced.is_set():
                return None
            if ended == "failed":
                return {"batch": batch.id, "status": ended}
            status = _insist(lambda: end(store, settings, batch, journal, ended)).status
        claim.journal.append(f"The batch is {status}.")
        return {"batch": batch.id, "status": status}
    finally:
        store.close()


def _checked(store: Store, settings: Settings, batch: Batch) -> Batch:
    """The batch `in_progress`, or `failed` because of its lines; as it is where that is decided already. Raises StoreError."""
    if batch.status != "validating":
        return batch
    now = int(time.time())
    try:
        changes = _read(Filing(store, settings).files.path(batch.sha256), batch, settings.batch_requests)
    except NotFoundError:
        changes = _failed([BatchProblem(code="file_not_found", message="The input file was deleted.", param="input_file_id")])
    at = {"failed_at": now, "sha256": ""} if changes["status"] == "failed" else {"in_progress_at": now}
    return change(store, batch.id, {**changes, **at}, ("validating",)) or find(store, batch.id)


def _read(path: Path, batch: Batch, most: int) -> dict[str, Any]:
    """What reading all lines says of a batch: how many, of which model, or what is wrong."""
    total, models, problems = 0, set[str](), list[BatchProblem]()
    for row in read_requests(path, batch.endpoint):
        total += 1
        if isinstance(row, BatchRequest):
            models.add(str(row.body.get("model")))
        elif len(problems) < SHOWN:
            problems.append(BatchProblem(code=row.code, message=_said(row), line=row.line, param=row.param))
    if total == 0:
        problems.append(BatchProblem(code="empty_file", message="The input file has no line."))
    if total > most:
        problems.append(BatchProblem(code="too_many_requests", message=f"The input file has {total} lines; {most} are allowed."))
    if problems:
        return {**_failed(problems), "total": total}
    return {"status": "in_progress", "total": total, "model": models.pop() if len(models) == 1 else None}


def _failed(problems: list[BatchProblem]) -> dict[str, Any]:
    return {"status": "failed", "errors": [problem.model_dump() for problem in problems]}


def _said(row: Unfit) -> str:
    return row.reason[:1].upper() + row.reason[1:300] + "."


def _answer(store: Store, settings: Settings, batch: Batch, journal: Journal[Answer], run: Run, claim: Claim) -> Ended | None:
    """How the batch ends; None when the run was asked to stop and is to go on later."""
    if batch.status == "failed":
        return "failed"
    if batch.status == "cancelling":
        return "cancelled"
    counts = Counts.of(answers(journal))
    claim.progress(len(counts.done), batch.total)
    ended = asyncio.run(_ask_all(store, settings, batch, journal, counts, claim))
    if ended is None:
        now = store.run(run.id)
        return "cancelled" if now is not None and now.state == "cancelling" else None
    return ended


async def _ask_all(
    store: Store, settings: Settings, batch: Batch, journal: Journal[Answer], counts: Counts, claim: Claim
) -> Ended | None:
    path = Filing(store, settings).files.path(batch.sha256)
    async with _asking(store, settings, batch) as ask:
        asking = asyncio.ensure_future(
            answer_all(_requests(path, batch.endpoint), ask, journal, counts, concurrency=settings.batch_concurrency)
        )
        try:
            ended = await _watch(store, batch, asking, counts, claim)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    return ended


async def _watch(store: Store, batch: Batch, asking: asyncio.Future[None], counts: Counts, claim: Claim) -> Ended | None:
    """Until all is answered, somebody cancels the batch, its time is over, or the run is asked to stop (None)."""
    told = 0.0
    while not asking.done():
        await asyncio.wait((asking,), timeout=LOOK_SECONDS)
        claim.progress(len(counts.done), batch.total)
        if claim.should_stop:
            return None
        if time.time() >= batch.expires_at and not asking.done():
            return "expired"
        tell = time.monotonic() - told > TELL_SECONDS
        if await asyncio.to_thread(_cancelling, store, batch, counts if tell else None):
            return "cancelled"
        told = time.monotonic() if tell else told
    asking.result()
    return "completed"


def _cancelling(store: Store, batch: Batch, counts: Counts | None) -> bool:
    """Whether somebody asked for its end; on the way, what has come so far is written. A store that is away says nothing."""
    try:
        if counts is not None:
            so_far = {"completed": counts.completed, "failed": counts.failed, "usage": counts.usage.model_dump()}
            change(store, batch.id, so_far, ("in_progress", "cancelling"))
        return find(store, batch.id).status == "cancelling"
    except StoreError:
        return False


def _requests(path: Path, endpoint: str) -> Iterator[BatchRequest]:
    return (row for row in read_requests(path, endpoint) if isinstance(row, BatchRequest))


@asynccontextmanager
async def _asking(store: Store, settings: Settings, batch: Batch) -> AsyncIterator[Answering]:
    """Who answers: the gateway's models, captured and counted as the server does."""
    gateway = Gateway(store, settings)
    await asyncio.to_thread(gateway.refresh)
    meter = Meter(store)
    recorder = Recorder(store, settings, batch.run, meter.count)
    handler = handlers_of(asking_resources(gateway.router, recorder, store, settings))[batch.endpoint]
    metering = asyncio.ensure_future(meter.run())
    try:
        yield _answering(handler, batch.endpoint, Trying(Limit(settings.batch_concurrency), PATIENCE))
    finally:
        await recorder.drain(DRAIN_SECONDS)
        metering.cancel()
        await meter.flush()
        await gateway.close()


def _answering(handler: Handler, endpoint: str, trying: Trying) -> Answering:
    async def answer(request: BatchRequest) -> Answer:
        if request.body.get("stream"):
            return _answered(request, _refused("A batch's answers are whole: leave out 'stream'.", "stream"))
        body = json_bytes(request.body)
        try:
            reply = await trying.until_answered(lambda: reply_to(handler, endpoint, body))
        except StillhouseError as exc:
            reply = error_reply(exc)
        except Exception:
            log.exception("line %d of a batch failed", request.line)
            reply = Reply.of(envelope("The server failed on this request; its log says why.", 500, "internal_error"), 500)
        return _answered(request, reply)

    return answer


def _answered(request: BatchRequest, reply: Reply) -> Answer:
    try:
        body = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        reply = Reply.of(envelope(f"The answer, of status {reply.status}, is no JSON object.", 502, "upstream_error"), 502)
        body = {}
    return Answer(
        line=request.line,
        id=new_id("batch_req"),
        custom_id=request.custom_id,
        request_id=f"req_{uuid7_hex()}",
        status=reply.status,
        body=reply.body.decode("utf-8", "replace"),
        usage=BatchUsage.of(body),
    )


def _refused(message: str, param: str) -> Reply:
    return Reply.of(envelope(message, 400, "invalid_value", param), 400)


def _insist(write: Callable[[], T]) -> T:
    """`write`, again and again until the store takes it. Raises StoreError in the end."""
    deadline = time.monotonic() + STORE_SECONDS
    while True:
        try:
            return write()
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(BEAT_SECONDS)
