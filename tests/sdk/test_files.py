"""Files through the official SDK against the real server, with strict response validation, sync and async."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.fakes.server import LiveServer

CHAT = {"messages": [{"role": "user", "content": "银行卡在哪里?"}, {"role": "assistant", "content": "在邮寄中。"}]}
PAIR = {
    "input": {"messages": [{"role": "user", "content": "Q"}]},
    "preferred_output": [{"role": "assistant", "content": "good"}],
    "non_preferred_output": [{"role": "assistant", "content": "bad"}],
}
PROMPT = {"messages": [{"role": "user", "content": "1 + 1?"}], "reference": "2"}
REQUEST = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": []}}
WRONG = {"messages": [{"role": "wizard", "content": "x"}]}


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("files") / "data", STILLHOUSE_MAX_FILE_BYTES="3000000") as server:
        yield server


def test_a_files_life(client: openai.OpenAI, tmp_path: Path) -> None:
    content = lines(CHAT, PAIR, PROMPT)
    path = tmp_path / 'données "1" 银行.jsonl'
    path.write_bytes(content)
    created = client.files.create(file=path, purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 3600})
    assert (created.bytes, created.filename, created.purpose) == (len(content), path.name.replace('"', "%22"), "fine-tune")
    assert created.expires_at == created.created_at + 3600
    assert client.files.wait_for_processing(created.id).status == "processed"
    assert client.files.retrieve(created.id) == created

    answer = client.files.content(created.id)
    assert answer.content == content
    assert answer.response.headers["content-disposition"].startswith('attachment; filename="donn_es')
    with pytest.warns(DeprecationWarning):
        assert client.files.retrieve_content(created.id) == content.decode()

    deleted = client.files.delete(created.id)
    assert (deleted.id, deleted.deleted) == (created.id, True)
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            gone(created.id)


def test_large_bytes_come_back_as_they_went(client: openai.OpenAI, server: LiveServer) -> None:
    content = bytes(range(256)) * 10_000
    first = client.files.create(file=("a.bin", content), purpose="user_data")
    second = client.files.create(file=("../../b.bin", content), purpose="vision")
    assert second.filename == "b.bin"
    kept = [path for path in (server.data_dir / "uploads").rglob("*") if path.is_file() and path.stat().st_size == len(content)]
    assert len(kept) == 1
    client.files.delete(first.id)
    assert client.files.content(second.id).content == content
    client.files.delete(second.id)
    assert not kept[0].exists()


def test_what_is_too_large_is_refused_and_leaves_nothing(client: openai.OpenAI, server: LiveServer) -> None:
    client.files.create(file=b"small", purpose="user_data")  # from here on, all the folders are there
    before = sorted((server.data_dir / "uploads").rglob("*"))
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=bytes(3_000_001), purpose="assistants")
    assert refused.value.status_code == 413
    assert sorted((server.data_dir / "uploads").rglob("*")) == before


@pytest.mark.parametrize(
    ("purpose", "good", "bad", "reason"),
    [
        ("fine-tune", CHAT, WRONG, "the role 'wizard'"),
        ("evals", {"item": {"q": 1}}, {"q": 1}, "'item' is missing"),
        ("batch", REQUEST, {**REQUEST, "method": "GET"}, "'method' is 'GET'"),
    ],
)
def test_wrong_lines_are_named(client: openai.OpenAI, purpose: str, good: object, bad: object, reason: str) -> None:
    made = client.files.create(file=lines(good, bad) + b"{\n", purpose=purpose)  # type: ignore[arg-type]
    assert made.status == "error" and made.status_details is not None
    assert made.status_details.startswith("2 of 3 lines cannot be used: line 2: ")
    assert reason in made.status_details and "line 3: not valid JSON" in made.status_details
    assert client.files.wait_for_processing(made.id).status == "error"
    assert client.files.create(file=lines(good), purpose=purpose).status == "processed"  # type: ignore[arg-type]


def test_evals_files_are_what_the_sdk_can_say(client: openai.OpenAI) -> None:
    made = client.files.create(file=lines({"item": {}}), purpose="evals")
    assert made.purpose == "user_data" and made.model_extra is not None
    assert made.model_extra["stillhouse"]["purpose"] == "evals"
    assert made.id in [file.id for file in client.files.list(purpose="evals")]
    assert made.id not in [file.id for file in client.files.list(purpose="user_data")]


def test_a_batchs_file_goes_after_a_month(client: openai.OpenAI) -> None:
    made = client.files.create(file=lines(REQUEST), purpose="batch")
    assert made.expires_at == made.created_at + 2_592_000


def test_lists(client: openai.OpenAI) -> None:
    made = [client.files.create(file=(f"{n}.txt", b"%d" % n), purpose="assistants").id for n in range(5)]
    assert [file.id for file in client.files.list(purpose="assistants")] == made[::-1]
    assert [file.id for file in client.files.list(purpose="assistants", order="asc", limit=2)] == made
    page = client.files.list(purpose="assistants", order="asc", after=made[2], limit=1)
    assert [file.id for file in page.data] == [made[3]] and page.has_more
    with pytest.raises(openai.BadRequestError, match="10000"):
        client.files.list(limit=10_001)


@pytest.mark.parametrize("seconds", [3599, 2_592_001])
def test_an_expiry_that_cannot_be(client: openai.OpenAI, seconds: int) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=b"x", purpose="user_data", expires_after={"anchor": "created_at", "seconds": seconds})
    assert refused.value.param == "expires_after.seconds"
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=b"x", purpose="batch_output")  # type: ignore[arg-type]
    assert refused.value.param == "purpose"


async def test_the_async_client(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        made = await client.files.create(file=("x.jsonl", lines(CHAT)), purpose="fine-tune")
        assert (await client.files.wait_for_processing(made.id)).status == "processed"
        assert (await client.files.retrieve(made.id)).created_at <= time.time()
        assert (await client.files.content(made.id)).content == lines(CHAT)
        with pytest.warns(DeprecationWarning):
            assert (await client.files.retrieve_content(made.id)).encode() == lines(CHAT)
        assert made.id in [file.id async for file in client.files.list(limit=1)]
        assert (await client.files.delete(made.id)).deleted
