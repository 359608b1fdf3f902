"""What the SDK would not send: connections that break, forms that lie, names that want to be paths."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import openai
import pytest

from stillhouse.api import asgi
from stillhouse.app import App
from stillhouse.settings import Settings
from stillhouse.stores.sql import SqlStore
from tests.api.test_multipart import TYPE, form_of, part
from tests.fakes.asgi import call, running
from tests.fakes.server import LiveServer

FORM = {"content-type": TYPE}


def kept(settings: Settings) -> list[Path]:
    return [path for path in settings.uploads.rglob("*") if path.is_file() and path.name != ".lock"]


async def test_a_file_in_many_small_pieces(app: App, settings: Settings) -> None:
    body = form_of(part("file", b"content", "a.txt"), part("purpose", b"user_data"))
    answer = await call(app, "POST", "/v1/files", headers=FORM, parts=[bytes([byte]) for byte in body])
    assert answer.status == 200 and answer.json["bytes"] == 7
    assert [path.read_bytes() for path in kept(settings)] == [b"content"]


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..\\..\\x", "/abs", "a/../b", "."])
async def test_a_name_never_becomes_a_path(app: App, settings: Settings, name: str) -> None:
    answer = await call(app, "POST", "/v1/files", form_of(part("purpose", b"vision"), part("file", b"x", name)), FORM)
    assert answer.status == 200 and "/" not in answer.json["filename"] and "\\" not in answer.json["filename"]
    (path,) = kept(settings)
    assert path.parent.parent == settings.uploads and path.name == answer.json["stillhouse"]["sha256"]


async def test_a_name_cannot_write_headers(app: App) -> None:
    name = "a\x00\x7f;x=%0d%0aset-cookie: a=b.txt"
    made = await call(app, "POST", "/v1/files", form_of(part("purpose", b"vision"), part("file", b"x", name)), FORM)
    answer = await call(app, "GET", f"/v1/files/{made.json['id']}/content")
    assert answer.body == b"x" and answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="a_x__0d_0aset-cookie_ a_b.txt"; filename*=')
    assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form_of(part("file", b"x", "a")), "purpose"),
        (form_of(part("file", b"x", "a"), part("purpose", b"fun")), "purpose"),
        (form_of(part("purpose", b"vision")), "file"),
        (form_of(part("file", b"x", "a"), part("purpose", b"vision"), part("expires_after[seconds]", b"3600")),
         "expires_after.anchor"),
        (form_of(part("file", b"x", "a"), part("purpose", b"vision"), part("expires_after", b"soon")), "expires_after"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_and_nothing_is_kept(app: App, settings: Settings, body: bytes, param: str) -> None:
    answer = await call(app, "POST", "/v1/files", body, FORM)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert kept(settings) == []


async def test_json_is_no_form(app: App) -> None:
    answer = await call(app, "POST", "/v1/files", {"purpose": "vision"})
    assert answer.status == 400 and "multipart/form-data" in answer.json["error"]["message"]


async def test_a_nearly_full_disk_takes_no_files(store: SqlStore, settings: Settings) -> None:
    async with running(App(store, settings.model_copy(update={"min_free_bytes": 2**62}))) as app:
        answer = await call(app, "POST", "/v1/files", form_of(part("purpose", b"vision"), part("file", b"x", "a")), FORM)
        assert answer.status == 503 and "would be free" in answer.json["error"]["message"]
        assert kept(settings) == []


@pytest.mark.parametrize("path", ["", "/content"])
async def test_unknown_ids(app: App, path: str) -> None:
    for identifier in ("file-1", "a" * 64, "..", "%00"):
        assert (await call(app, "GET", f"/v1/files/{identifier}{path}")).status == 404


def test_a_connection_cut_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    body = form_of(part("purpose", b"user_data"), part("file", bytes(2_000_000), "a"))
    with LiveServer(tmp_path / "data") as server:
        head = f"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: {TYPE}\r\ncontent-length: {len(body)}\r\n\r\n"
        settings = Settings(data_dir=server.data_dir)
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head.encode() + body[:1_000_000])
            _until(lambda: any(path.parent.name == "incoming" for path in kept(settings)))
        _until(lambda: kept(settings) == [])
        assert server.stop() == 0


def test_a_disk_that_refuses_in_the_middle_leaves_nothing_and_the_server_goes_on(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data") as server, openai.OpenAI(base_url=server.url, api_key="x", max_retries=0) as client:
        kept_before = client.files.create(file=b"before", purpose="user_data")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (8 * 2**20, 8 * 2**20))  # as a full disk: writes past it fail
        with pytest.raises(openai.InternalServerError, match="Cannot write"):
            client.files.create(file=bytes(12 * 2**20), purpose="user_data")
        after = client.files.create(file=b"after", purpose="user_data")
        assert [file.id for file in client.files.list()] == [after.id, kept_before.id]
        assert len(kept(Settings(data_dir=server.data_dir))) == 2


@pytest.mark.full
def test_memory_stays_small_whatever_the_files_size(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data") as server, openai.OpenAI(base_url=server.url, api_key="x", max_retries=0) as client:
        client.files.create(file=bytes(2**20), purpose="user_data")
        before = peak(server)
        made = client.files.create(file=bytes(400 * 2**20), purpose="user_data")
        with client.files.with_streaming_response.content(made.id) as answer:
            assert sum(len(piece) for piece in answer.iter_bytes()) == 400 * 2**20
        print(f"peak memory grew by {peak(server) - before} KB over a file of 400 MB")
        assert peak(server) - before < 32 * 1024


def peak(server: LiveServer) -> int:
    """The most memory the server has had at once, in KB."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    async def send(_: MutableMapping[str, Any]) -> None:
        raise AssertionError("nothing is sent")

    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.01)
    with pytest.raises(asgi.BodyTooSlowError, match="less than 65536 bytes"):
        async for _ in asgi.Call({"headers": []}, never, send).pieces(10):
            pass


async def test_a_killed_uploads_rest_is_swept_and_a_living_ones_stays(app: App, settings: Settings) -> None:
    dead = settings.uploads / "incoming" / "dead"
    await asyncio.to_thread(app.filing.sweep)
    dead.parent.mkdir(parents=True, exist_ok=True)
    dead.write_bytes(b"half")
    with app.filing.draft() as draft:
        draft.write(b"living")
        app.filing.sweep()
        assert not dead.exists()
        assert app.filing.file_draft(draft, "x", "user_data").bytes == 6


def _until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
