"""The real server over real sockets: slow clients, large bodies, clients that vanish, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse import server as server_module
from stillhouse.completion import STATES, Completion, CompletionQuery
from stillhouse.errors import UsageError
from stillhouse.server import Protocol, bind, url_of
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream

ASKED: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "store": True}


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def live(tmp_path: Path, upstream: FakeUpstream) -> Iterator[LiveServer]:
    add_upstream(tmp_path / "data", upstream.base_url)
    with LiveServer(tmp_path / "data", STILLHOUSE_MAX_BODY_BYTES="100000") as live:
        yield live


def rows(live: LiveServer) -> list[Completion]:
    store = open_store(Settings(data_dir=live.data_dir))
    try:
        return store.completions(CompletionQuery(states=STATES, limit=100)).items
    finally:
        store.close()


def send(live: LiveServer, body: dict[str, Any]) -> socket.socket:
    raw = json.dumps(body).encode()
    client = socket.create_connection(("127.0.0.1", live.port), timeout=20)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(raw)}\r\n\r\n"
    client.sendall(head.encode() + raw)
    return client


def read_all(client: socket.socket) -> bytes:
    got = b""
    while part := client.recv(65536):
        got += part
    return got


def test_sigterm_finishes_what_is_under_way(live: LiveServer, upstream: FakeUpstream) -> None:
    clients = [send(live, {**ASKED, "stream": stream, "fault": {"wait": True}}) for stream in (True, False)]
    upstream.wait_for(2)
    live.process.send_signal(signal.SIGTERM)
    upstream.release.set()
    for client, end in zip(clients, (b"data: [DONE]\n\n", b'"x_unknown"'), strict=True):
        with client:
            assert end in read_all(client)
    assert live.process.wait(30) == 0
    assert [row.state for row in rows(live)] == ["complete", "complete"]


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_client_that_vanishes_mid_stream(live: LiveServer, upstream: FakeUpstream, way: str) -> None:
    client = send(live, {**ASKED, "stream": True, "fault": {"drip": 300, "every": 0.02}})
    assert client.recv(100)
    if way == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert live.stop() == 0
    (row,) = rows(live)
    assert (row.state, row.client_gone) == ("complete", True)


def test_a_body_over_the_cap_is_refused_while_it_is_sent(live: LiveServer, upstream: FakeUpstream) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 1000:  # 64 MB, if nobody stopped it
                client.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 1
    assert sent < 1000
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100001\r\n\r\n")
        assert b" 413 " in client.recv(4096)
    assert upstream.ledger == []


def test_head_over_its_cap_is_cut_off(live: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 200_000)
        with contextlib.suppress(ConnectionError):
            assert client.recv(10) == b""


async def test_a_head_that_comes_too_slowly_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.05)
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None)
    state = uvicorn.Server(config)
    config.load()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: Protocol(config=config, server_state=state.server_state, app_state={}, _loop=loop), "127.0.0.1", 0
    )
    port = listener.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")  # a whole one is answered, and the connection kept
    assert b"204" in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"GET / HTTP/1.1\r\nho")  # the second never ends
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    listener.close()
    await listener.wait_closed()


def test_commands_write_through_the_live_server_and_take_effect_at_once(live: LiveServer, upstream: FakeUpstream) -> None:
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(live.data_dir)]

    def run(*arguments: str) -> Any:
        done = subprocess.run([*command, *arguments, "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def models(secret: str = "") -> list[str]:
        asked = urllib.request.Request(f"{live.url}/models", headers={"authorization": f"Bearer {secret}"})
        with urllib.request.urlopen(asked, timeout=20) as response:
            listed = [model["id"] for model in json.load(response)["data"]]
        return [name for name in listed if not name.startswith(("builtin:", "stillhouse/"))]

    run("upstream", "add", "second", "--base-url", upstream.base_url, "--model", "other")
    run("route", "set", "my-task", "--model", "other")
    assert models() == ["gpt-4o", "my-task", "other"]
    client = send(live, {**ASKED, "model": "my-task"})
    with client:
        assert b" 200 " in client.recv(65536)
    assert upstream.ledger[-1].body["model"] == "other"
    secret = run("key", "create", "me")["secret"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        models()
    refused.value.close()
    assert refused.value.code == 401 and models(secret) == ["gpt-4o", "my-task", "other"]
    assert run("key", "list")[0]["name"] == "me"
    assert live.stop() == 0
    (row,) = rows(live)
    assert (row.requested_model, row.model, row.upstream) == ("my-task", "other", "second")


def test_a_door_to_other_machines_needs_a_key_first(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "stillhouse.cli.main",
        "--data-dir",
        str(tmp_path),
        "serve",
        "--port",
        "0",
        "--host",
        "0.0.0.0",
    ]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 4 and "stillhouse key create" in refused.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0)
    with bind(settings) as taken:
        assert url_of(taken).startswith("http://127.0.0.1:")
        with pytest.raises(UsageError, match="--port"):
            bind(settings.model_copy(update={"port": taken.getsockname()[1]}))


def test_a_second_server_on_the_same_data_is_refused(live: LiveServer) -> None:
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(live.data_dir), "serve", "--port", "0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ})
    assert refused.returncode == 75 and "held by" in refused.stderr
