"""What is deleted with the SDK is gone from what read it, and what still reads a deleted file is not disturbed."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest
import zstandard

from stillhouse.document import DocumentQuery
from stillhouse.jobs import forgetting
from stillhouse.jobs.forgetting import ERASURE, finish
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer
from tests.fakes.speaking import SpeakingUpstream
from tests.sdk.sums import CUSTOM, DEADLINE_SECONDS, RIGHT, SAME, asking, ended, item, question, server, start, upstream

__all__ = ["server", "upstream"]

SECRET = "4000000001"
"""Stands in a question; the answer to it follows from it, so that it can be told as well."""
ANSWER = str(int(SECRET) + 4)
LAST = 7_000
"""The question after it is about this number, and no other test's is."""
JUDGED: Any = {
    "type": "score_model", "name": "judged", "model": "judge", "pass_threshold": 0.6,
    "input": [{"role": "user", "content": "{{item.input_text}} {{sample.output_text}}"}],
}  # fmt: skip
AGAIN: dict[str, Any] = {"model": "teacher", "input_messages": {"type": "item_reference", "item_reference": "item.input"}}


def store_some(client: openai.OpenAI, use: str, *, last: int) -> list[str]:
    """Three stored sums; the second is the secret one."""
    ids = []
    for text in (question(1), f"What is {SECRET} plus 4?", question(last)):
        answer = client.chat.completions.create(
            model="teacher", messages=[{"role": "user", "content": text}], store=True, metadata={"use": use}
        )
        ids.append(answer.id)
    return ids


def kept_below(folder: Path) -> bytes:
    """Everything on disk, unpacked where it is packed."""
    found = b""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found += zstandard.ZstdDecompressor().decompress(content) if content[:4] == b"\x28\xb5\x2f\xfd" else content
    return found


def erasures(server: LiveServer, *, finished: bool) -> int:
    """Deletions that are not done yet, after another try where `finished`."""
    settings = Settings(data_dir=server.data_dir)
    store = open_store(settings, role="worker")
    try:
        if finished:
            finish(store, settings)
        return len(store.documents(DocumentQuery(kind=ERASURE, limit=100)).items)
    finally:
        store.close()


def test_a_deleted_completion_leaves_the_runs_that_read_it(
    client: openai.OpenAI, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = store_some(client, "whole", last=LAST)
    made = client.evals.create(data_source_config={"type": "logs", "metadata": {"use": "whole"}}, testing_criteria=[SAME, JUDGED])
    source = {"type": "stored_completions", "metadata": {"use": "whole"}}
    run = start(client, made.id, {"type": "completions", "source": source, **AGAIN})
    then = ended(client, run)
    assert then.result_counts.passed == 3, then
    assert SECRET.encode() in kept_below(server.data_dir / "evals"), "or the test shows nothing"

    deleted = client.chat.completions.delete(ids[1])
    reach = (deleted.model_extra or {})["stillhouse"]
    assert deleted.deleted and (reach["erased_in"], reach["kept_in"]) == ([run.id], [])
    on_disk = kept_below(server.data_dir / "evals")
    assert SECRET.encode() not in on_disk and ANSWER.encode() not in on_disk and question(LAST).encode() in on_disk
    now = client.evals.runs.retrieve(run.id, eval_id=made.id)
    assert now.result_counts == then.result_counts and now.per_model_usage == then.per_model_usage
    items = list(client.evals.runs.output_items.list(run.id, eval_id=made.id))
    assert [one.status for one in items] == ["pass"] * 3 and list(items[1].datasource_item) == ["deleted"]
    assert items[1].sample.input == [] and [one.passed for one in items[1].results] == [True, True]
    said = "".join(one.model_dump_json() for one in items)
    assert SECRET not in said and ANSWER not in said and question(LAST) in said
    assert client.evals.runs.output_items.retrieve(items[1].id, eval_id=made.id, run_id=run.id).sample.output[0].content == ""
    assert erasures(server, finished=False) == 0
    _one_that_is_cut_short_is_finished_later(server, ids[2], monkeypatch)


def _one_that_is_cut_short_is_finished_later(server: LiveServer, completion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=server.data_dir)
    store = open_store(settings, role="worker")
    try:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(forgetting, "erase_in", _killed)
            forgetting.forget(store, settings, [completion])
        assert store.completion(completion) is None and question(LAST).encode() in kept_below(server.data_dir / "evals")
        assert finish(store, settings) == 1
    finally:
        store.close()
    assert question(LAST).encode() not in kept_below(server.data_dir / "evals")


def _killed(*_: object) -> tuple[bool, bool]:
    raise KeyboardInterrupt


def test_a_deleted_completion_takes_the_response_with_it(client: openai.OpenAI) -> None:
    response = client.responses.create(model="teacher", input=f"What is {SECRET} plus 4?")
    assert client.chat.completions.delete("chatcmpl-" + response.id.removeprefix("resp_")).deleted
    for gone in (client.responses.retrieve, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            gone(response.id)


def test_what_is_deleted_while_a_run_reads_it_is_not_kept_when_its_answers_come(
    client: openai.OpenAI, server: LiveServer, upstream: SpeakingUpstream
) -> None:
    ids = store_some(client, "going", last=5)
    made = client.evals.create(data_source_config={"type": "logs", "metadata": {"use": "going"}}, testing_criteria=[JUDGED])
    source = {"type": "stored_completions", "metadata": {"use": "going"}}
    begin = len(upstream.ledger)
    upstream.gate.clear()
    try:
        run = start(client, made.id, {"type": "completions", "source": source, **AGAIN})
        upstream.wait_for(begin + 3)
        reach = (client.chat.completions.delete(ids[1]).model_extra or {})["stillhouse"]
        assert reach["erased_in"] == [run.id]
        assert erasures(server, finished=True) == 1, "its worker has the answers under way"
    finally:
        upstream.gate.set()
    done = ended(client, run)
    assert (done.status, done.result_counts.passed) == ("completed", 3), done
    assert erasures(server, finished=True) == 0
    on_disk = kept_below(server.data_dir / "evals")
    assert SECRET.encode() not in on_disk and ANSWER.encode() not in on_disk
    items = list(client.evals.runs.output_items.list(run.id, eval_id=made.id))
    assert SECRET not in "".join(one.model_dump_json() for one in items)


def test_a_file_may_be_deleted_while_a_run_reads_it(
    client: openai.OpenAI, server: LiveServer, upstream: SpeakingUpstream
) -> None:
    made = client.evals.create(data_source_config=CUSTOM, testing_criteria=[RIGHT])
    content = "\n".join(json.dumps({"item": item(number)}) for number in range(30)).encode()
    begin = len(upstream.ledger)
    upstream.gate.clear()
    try:
        file = client.files.create(file=content, purpose="evals")
        source = {"type": "file_id", "id": file.id}
        run = start(client, made.id, {**asking("teacher", 1), "source": source})
        upstream.wait_for(begin + 1)
        assert client.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.content(file.id)
        with pytest.raises(openai.BadRequestError) as refused:
            start(client, made.id, {**asking("teacher", 1), "source": source})
        assert refused.value.param == "data_source.source.id"
    finally:
        upstream.gate.set()
    done = ended(client, run)
    assert (done.status, done.result_counts.passed) == ("completed", 30), done
    deadline = time.monotonic() + DEADLINE_SECONDS
    while any(path.read_bytes() == content for path in (server.data_dir / "uploads").glob("??/*")):
        assert time.monotonic() < deadline, "its bytes go when the last run that read it has been told as ended"
        time.sleep(0.05)
