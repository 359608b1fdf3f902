"""Large files in parts through the official SDK against the real server, with strict response validation, sync and async."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai.types import Upload

from tests.fakes.server import LiveServer

CONTENT = bytes(range(251)) * 4000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("uploads") / "data", STILLHOUSE_MAX_UPLOAD_BYTES="2000000") as server:
        yield server


def announced(client: openai.OpenAI, size: int) -> Upload:
    return client.uploads.create(bytes=size, filename="a.txt", mime_type="text/plain", purpose="user_data")


def contents(server: LiveServer) -> set[str]:
    """What lies in the folder of uploads, by its hash."""
    return {path.name for path in (server.data_dir / "uploads").glob("??/*") if path.is_file()}


def test_the_sdks_own_helper(client: openai.OpenAI, server: LiveServer) -> None:
    before = contents(server)
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    upload = client.uploads.upload_file_chunked(
        file=CONTENT, filename="big.bin", bytes=len(CONTENT), mime_type="text/plain", purpose="user_data", part_size=300_000,
        md5=md5,
    )  # fmt: skip
    assert upload.status == "completed" and upload.expires_at == upload.created_at + 3600
    assert upload.file is not None and (upload.file.bytes, upload.file.filename) == (len(CONTENT), "big.bin")
    assert client.files.content(upload.file.id).content == CONTENT
    assert contents(server) - before <= {hashlib.sha256(CONTENT).hexdigest()}, "a part is left on disk"


def test_the_order_is_the_one_that_is_named(client: openai.OpenAI) -> None:
    upload = announced(client, 6)
    a, b, unused = (client.uploads.parts.create(upload.id, data=data) for data in (b"abc", b"def", b"xyz"))
    assert (a.upload_id, a.object) == (upload.id, "upload.part")
    done = client.uploads.complete(upload.id, part_ids=[b.id, a.id])
    assert done.file is not None and client.files.content(done.file.id).content == b"defabc"
    assert client.uploads.complete(upload.id, part_ids=[b.id, a.id]).file == done.file
    for refused in (lambda: client.uploads.complete(upload.id, part_ids=[a.id, b.id]), lambda: client.uploads.cancel(upload.id),
                    lambda: client.uploads.parts.create(upload.id, data=b"late")):  # fmt: skip
        with pytest.raises(openai.BadRequestError, match="completed"):
            refused()
    assert unused.id not in (a.id, b.id)


def test_what_does_not_add_up(client: openai.OpenAI) -> None:
    upload, other = announced(client, 6), announced(client, 3)
    a, b = (client.uploads.parts.create(upload.id, data=data) for data in (b"abc", b"de"))
    strange = client.uploads.parts.create(other.id, data=b"abc")
    for part_ids, message in [
        ([a.id, b.id], "5 bytes"),
        ([a.id, a.id], "named twice"),
        ([a.id, strange.id], "has no part"),
        ([], "part_ids"),
    ]:
        with pytest.raises(openai.BadRequestError, match=message):
            client.uploads.complete(upload.id, part_ids=part_ids)
    with pytest.raises(openai.BadRequestError, match="MD5"):
        client.uploads.complete(other.id, part_ids=[strange.id], md5="0" * 32)
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        client.uploads.complete(upload.id, part_ids=[a.id])
    assert client.uploads.complete(other.id, part_ids=[strange.id]).status == "completed"
    with pytest.raises(openai.NotFoundError):
        client.uploads.cancel("upload-1")


def test_what_is_too_large(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        announced(client, 2_000_001)
    assert refused.value.param == "bytes"


def test_a_file_in_parts_is_checked_like_any_other(client: openai.OpenAI) -> None:
    upload = client.uploads.create(bytes=3, filename="a.jsonl", mime_type="text/jsonl", purpose="fine-tune",
                                   expires_after={"anchor": "created_at", "seconds": 4000})  # fmt: skip
    done = client.uploads.complete(upload.id, part_ids=[client.uploads.parts.create(upload.id, data=b"{}\n").id])
    assert done.file is not None and done.file.status == "error" and "line 1" in str(done.file.status_details)
    assert done.file.expires_at == done.file.created_at + 4000


async def test_the_async_client(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(CONTENT)
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        upload = await client.uploads.upload_file_chunked(
            file=tmp_path / "b.bin", mime_type="text/plain", purpose="user_data", part_size=400_000
        )
        assert upload.file is not None and (await client.files.content(upload.file.id)).content == CONTENT
        parts = await client.uploads.create(bytes=2, filename="a", mime_type="text/plain", purpose="user_data")
        first, second = [await client.uploads.parts.create(parts.id, data=data) for data in (b"b", b"a")]
        whole = (await client.uploads.complete(parts.id, part_ids=[second.id, first.id])).file
        assert whole is not None and (await client.files.content(whole.id)).content == b"ab"
        cancelled = await client.uploads.create(bytes=1, filename="a", mime_type="text/plain", purpose="vision")
        assert (await client.uploads.cancel(cancelled.id)).status == "cancelled"
