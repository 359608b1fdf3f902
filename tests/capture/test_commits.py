"""What a client may see before an exchange is committed: all of the text, and no end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stillhouse.chat import Chunk
from stillhouse.errors import (
    CaptureLostError,
)
from stillhouse.models.fake import FakeModel
from stillhouse.sse import iter_events
from stillhouse.stores.base import Store
from tests.capture.kits import MESSAGES, BytesModel, HeldStore, Kit, read, request
from tests.fakes.upstream import stream_body


async def test_text_is_not_delayed_and_the_end_waits_for_the_commit(store: Store, tmp_path: Path) -> None:
    held = HeldStore(store)
    raw = stream_body({"model": "m", "messages": MESSAGES}, 1)
    kit = Kit(held, BytesModel(raw), tmp_path)
    got: list[Chunk] = []

    async def client() -> None:
        async for chunk in kit.capture.stream(request(stream=True)):
            got.append(chunk)

    reading = asyncio.create_task(client())
    await held.asked.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    events = list(iter_events(raw))
    assert len(got) == len(events) - 2  # all of the text; neither the finish reason nor the end marker
    assert not any(chunk.is_done or chunk.finish_reasons for chunk in got)
    held.ends[0]()
    await reading
    assert len(got) == len(events) and got[-1].is_done


async def test_a_whole_body_waits_for_the_commit(store: Store, tmp_path: Path) -> None:
    held = HeldStore(store)
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path)
    asking = asyncio.create_task(kit.capture.complete(request()))
    await held.asked.wait()
    for _ in range(50):
        await asyncio.sleep(0)
    assert not asking.done()
    held.ends[0]()
    assert (await asking).text == "x"


@pytest.mark.parametrize("stream", [False, True])
async def test_to_cancel_whoever_waits_for_the_commit_does_not_cancel_the_commit(
    store: Store, tmp_path: Path, stream: bool
) -> None:
    held = HeldStore(store)
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path)
    asking = asyncio.create_task(complete_or_read(kit, stream))
    await held.asked.wait()
    asking.cancel()
    await kit.recorder.drain(0)
    await asyncio.gather(asking, return_exceptions=True)
    held.ends[0]()  # fails if the write was cancelled
    assert [row.state for row in kit.rows()] == ["complete"]


async def complete_or_read(kit: Kit, stream: bool) -> None:
    if stream:
        await read(kit.capture.stream(request(stream=True)))
    else:
        await kit.capture.complete(request())


async def test_an_answer_that_cannot_be_kept_is_not_told(store: Store, tmp_path: Path) -> None:
    held = HeldStore(store)
    held.failing = {"finish"}
    kit = Kit(held, FakeModel(lambda _: "x"), tmp_path)
    with pytest.raises(CaptureLostError):
        await kit.capture.complete(request())
    got, problem = await read(kit.capture.stream(request(stream=True)))
    assert isinstance(problem, CaptureLostError) and b"[DONE]" not in got and b'"stop"' not in got
