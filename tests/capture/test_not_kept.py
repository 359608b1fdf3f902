"""What is not kept: refused, or dropped and said to be, before the upstream is asked; or not wanted, and counted alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stillhouse.capture import CAPTURE_HEADER
from stillhouse.errors import (
    StoreError,
    StreamBrokenError,
)
from stillhouse.models.fake import FakeModel
from stillhouse.stores.base import Store
from tests.capture.kits import MESSAGES, BytesModel, HeldStore, Kit, read, request
from tests.fakes.upstream import stream_body


@pytest.mark.parametrize("stream", [False, True])
async def test_what_cannot_be_kept_is_not_forwarded(store: Store, tmp_path: Path, stream: bool) -> None:
    held, model = HeldStore(store), FakeModel(lambda _: "x")
    held.failing = {"begin"}
    kit = Kit(held, model, tmp_path)
    with pytest.raises(StoreError, match="disk full"):
        await (anext(kit.capture.stream(request(stream=True))) if stream else kit.capture.complete(request()))
    assert model.requests == [] and kit.rows() == []


@pytest.mark.parametrize("failing", ["begin", "finish"])
async def test_best_effort_says_that_it_dropped(store: Store, tmp_path: Path, failing: str) -> None:
    held = HeldStore(store)
    held.failing = {failing}
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path, capture="best_effort")
    answer = await kit.capture.complete(request())
    assert answer.text == "x" and answer.headers[CAPTURE_HEADER] == "dropped"
    stream = kit.capture.record_stream(request(stream=True))
    got, problem = await read(stream)
    assert problem is None and got.endswith(b"data: [DONE]\n\n") and stream.headers[CAPTURE_HEADER] == "dropped"


async def test_too_much_in_flight_is_refused_before_the_upstream_is_asked(store: Store, tmp_path: Path) -> None:
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1)
    model = BytesModel(raw)
    model.go.clear()
    kit = Kit(store, model, tmp_path, max_in_flight_bytes=len(raw) // 2)
    first = kit.capture.record_stream(request(stream=True))
    await anext(first)
    with pytest.raises(StoreError, match="not written yet"):
        await anext(kit.capture.stream(request(stream=True)))
    model.go.set()
    await kit.recorder.drain(10)
    assert [row.state for row in kit.rows()] == ["complete"]
    assert (await read(kit.capture.stream(request(stream=True))))[1] is None


async def test_a_nearly_full_disk_is_refused(store: Store, tmp_path: Path) -> None:
    kit = Kit(store, FakeModel(lambda _: "x"), tmp_path, min_free_bytes=2**60)
    with pytest.raises(StoreError, match="free"):
        await kit.capture.complete(request())


@pytest.mark.parametrize("parameters", [{"store": False}, {"store": None}, {"store": False, "stream": True}])
async def test_without_store_nothing_is_kept_but_counts(store: Store, tmp_path: Path, parameters: dict[str, Any]) -> None:
    kit = Kit(store, FakeModel(lambda _: "one two three"), tmp_path)
    asked = request(**parameters)
    if asked.stream:
        assert (await read(kit.capture.stream(asked)))[0].endswith(b"[DONE]\n\n")
    else:
        assert (await kit.capture.complete(asked)).text == "one two three"
    await kit.meter.flush()
    assert kit.rows() == []
    (usage,) = store.usage()
    assert (usage.requests, usage.failed, usage.completion_tokens, usage.stored) == (1, 0, 3, False)


async def test_without_store_a_broken_stream_still_ends_in_an_error(store: Store, tmp_path: Path) -> None:
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1, {"no_done": True})
    kit = Kit(store, BytesModel(raw), tmp_path)
    got, problem = await read(kit.capture.stream(request(store=False, stream=True)))
    await kit.meter.flush()
    assert got == raw and isinstance(problem, StreamBrokenError)
    assert store.usage()[0].failed == 1
