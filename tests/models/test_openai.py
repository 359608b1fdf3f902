"""An upstream over HTTP: what goes out, what comes back, when it is asked again."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from stillhouse.chat import ChatRequest, Chunk
from stillhouse.errors import StreamBrokenError, UpstreamError, UpstreamTimeoutError
from stillhouse.models import openai
from stillhouse.models.openai import OpenAIModel
from stillhouse.upstream import Timeouts, Upstream
from tests.fakes.upstream import FakeUpstream, stream_body

SHORT = Timeouts(connect=0.3, first_byte=0.3, idle=0.3)


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@contextlib.asynccontextmanager
async def model_of(upstream: FakeUpstream, environ: dict[str, str] | None = None, **fields: Any) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(Upstream(name="up", base_url=upstream.base_url, **fields), environ or {})
    try:
        yield model
    finally:
        await model.close()


def asking(**parameters: Any) -> ChatRequest:
    return ChatRequest.build("m", [{"role": "user", "content": "hi"}], **parameters)


async def read(model: OpenAIModel, request: ChatRequest) -> list[Chunk]:
    return [chunk async for chunk in model.stream(request)]


async def test_bytes_go_out_and_come_back_untouched(upstream: FakeUpstream) -> None:
    raw = b'{"messages" : [],"model":"m", "z":1.0}'
    async with model_of(upstream) as model:
        answer = await model.complete(ChatRequest(raw))
    assert upstream.ledger[0].raw == raw and upstream.ledger[0].path == "/v1/chat/completions"
    assert answer.raw == upstream.ledger[0].sent


async def test_a_streams_chunks_are_its_bytes(upstream: FakeUpstream) -> None:
    async with model_of(upstream) as model:
        chunks = await read(model, asking(stream=True, fault={"drip": 7}))
    assert b"".join(chunk.raw for chunk in chunks) == upstream.ledger[0].sent
    assert chunks[-1].is_done


async def test_the_only_credential_that_goes_out_is_the_upstreams_own(upstream: FakeUpstream) -> None:
    secrets = {name: f"canary-{name}" for name in ("authorization", "cookie", "x-api-key", "proxy-authorization", "api-key")}
    request = ChatRequest(asking().raw, {**secrets, "openai-beta": "x", "user-agent": "canary-agent"})
    async with model_of(upstream) as model:
        await model.complete(request)
    async with model_of(upstream, {"UP_KEY": "sk-upstream"}, api_key_env="UP_KEY") as model:
        await model.complete(request)
    without, with_key = (entry.headers for entry in upstream.ledger)
    assert "canary" not in str(without) + str(with_key)
    assert "authorization" not in without and with_key["authorization"] == "Bearer sk-upstream"
    assert without["openai-beta"] == "x" and without["accept-encoding"] == "identity"


async def test_a_key_that_is_not_there_is_named(upstream: FakeUpstream) -> None:
    async with model_of(upstream, api_key_env="UP_KEY") as model:
        with pytest.raises(UpstreamError, match="set UP_KEY"):
            await model.complete(asking())
    assert upstream.ledger == []


@pytest.mark.parametrize("stream", [False, True])
async def test_asked_again_only_before_the_first_byte(upstream: FakeUpstream, stream: bool) -> None:
    async with model_of(upstream, max_retries=2) as model:
        request = asking(stream=stream, fault={"status": [429, 503], "retry_after": 0})
        await (read(model, request) if stream else model.complete(request))
        assert len(upstream.ledger) == 3
        with pytest.raises(UpstreamError) as refused:
            await model.complete(asking(fault={"status": 500, "retry_after": 0}))
        assert (refused.value.attempts, refused.value.status) == (3, 500)
        assert len(upstream.ledger) == 6
        for fault in ({"status": 400}, {"status": 500, "retry_after": 31}, {"reset_at": 30}, {"longer": 1}):
            before = len(upstream.ledger)
            with pytest.raises(UpstreamError):
                await model.complete(asking(fault=fault))
            assert len(upstream.ledger) == before + 1, fault


async def test_a_refusal_carries_what_was_said(upstream: FakeUpstream) -> None:
    async with model_of(upstream) as model:
        with pytest.raises(UpstreamError) as refused:
            await read(model, asking(stream=True, fault={"status": 429, "retry_after": 9}))
    assert refused.value.status == 429 and b"fake_code" in refused.value.body
    assert refused.value.headers["retry-after"] == "9"


@pytest.mark.parametrize("fault", [{"wait": True}, {"stall_at": 0}, {"stall_at": 60}])
@pytest.mark.parametrize("stream", [False, True])
async def test_timeouts(upstream: FakeUpstream, fault: dict[str, Any], stream: bool) -> None:
    async with model_of(upstream, timeouts=SHORT) as model:
        with pytest.raises(UpstreamTimeoutError):
            await (read(model, asking(stream=True, fault=fault)) if stream else model.complete(asking(fault=fault)))
    upstream.release.set()


async def test_a_slow_drip_is_not_a_timeout(upstream: FakeUpstream) -> None:
    async with model_of(upstream, timeouts=SHORT) as model:
        chunks = await read(model, asking(stream=True, fault={"drip": 300, "every": 0.05}))
    assert chunks[-1].is_done


@pytest.mark.parametrize("fault", [{"reset_at": 200}, {"cut_at": 200, "end": "close"}])
async def test_a_stream_that_breaks_off(upstream: FakeUpstream, fault: dict[str, Any]) -> None:
    got = []
    async with model_of(upstream) as model:
        if "reset_at" in fault:
            with pytest.raises(StreamBrokenError):
                async for chunk in model.stream(asking(stream=True, fault=fault)):
                    got.append(chunk)
        else:
            with contextlib.suppress(StreamBrokenError):
                got = await read(model, asking(stream=True, fault=fault))
    assert not any(chunk.is_done for chunk in got)


async def test_a_stream_that_ends_inside_an_event_says_so(upstream: FakeUpstream) -> None:
    async with model_of(upstream) as model:
        chunks = await read(model, asking(stream=True, fault={"cut_at": 200}))
    assert [chunk.whole for chunk in chunks] == [True, False] and b"".join(c.raw for c in chunks) == upstream.ledger[0].sent


async def test_nobody_there() -> None:
    with FakeUpstream() as gone:
        pass
    async with model_of(gone, timeouts=SHORT, max_retries=1) as model:
        with pytest.raises(UpstreamError, match="cannot be reached") as refused:
            await model.complete(asking())
    assert refused.value.attempts == 2


async def test_redirects_are_not_followed(upstream: FakeUpstream) -> None:
    async with model_of(upstream) as model:
        with pytest.raises(UpstreamError, match="Redirects are not followed"):
            await model.complete(asking(fault={"redirect": True}))


async def test_a_bomb_is_cut_off(upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "MAX_RESPONSE_BYTES", 100_000)
    async with model_of(upstream) as model:
        with pytest.raises(StreamBrokenError, match="more than 100000 bytes"):
            await model.complete(asking(fault={"raw": "0" * 1_000_000, "gzip": True}))


async def test_connections_are_used_again_after_a_stream(upstream: FakeUpstream) -> None:
    async with model_of(upstream) as model:
        for _ in range(3):
            assert (await read(model, asking(stream=True)))[-1].is_done
    assert upstream.connections == 1
    assert [entry.sent for entry in upstream.ledger][0] == stream_body({"model": "m", "messages": asking().messages}, 1)


NO_BASE_URLS = [
    *(
        "file:///etc/passwd",
        "ftp://host/v1",
        "gopher://x",
        "//host/v1",
        "host:8000/v1",
        "http://",
        "http:///v1",
        "javascript:alert(1)",
    ),
    *("https://user:secret@host/v1", "https://user@host/v1", "https://host/v1?key=secret", "https://host/v1#x", ""),
]


@pytest.mark.parametrize("url", NO_BASE_URLS)
def test_base_urls_that_cannot_be(url: str) -> None:
    with pytest.raises(ValueError):
        Upstream(name="up", base_url=url)
