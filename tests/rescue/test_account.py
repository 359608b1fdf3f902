"""Our own server stands in for OpenAI's: what its account holds is brought into another data folder, and reads the same there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream

TURN: Any = {"role": "user", "content": [{"type": "text", "text": "Why?"}, {"type": "text", "text": "Briefly."}]}
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"said": {"type": "string"}, "right": {"type": "string"}},
    "required": ["said"],
}
CHECK: Any = {"type": "string_check", "name": "same", "input": "{{item.said}}", "reference": "{{item.right}}", "operation": "eq"}
ROWS = [{"said": "a", "right": "a"}, {"said": "b", "right": "c"}]


class Account(NamedTuple):
    client: openai.OpenAI
    url: str
    ids: dict[str, str]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    data_dir = tmp_path_factory.mktemp("there") / "data"
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url, "gpt-4o")
        with LiveServer(data_dir) as server, openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            yield Account(client, server.url, fill(client))


def fill(client: openai.OpenAI) -> dict[str, str]:
    """Something of everything; ids by what they are of."""
    asked: Any = {"model": "gpt-4o", "store": True, "metadata": {"task": "sky"}}
    completion = client.chat.completions.create(
        messages=[{"role": "system", "content": "Be kind."}, TURN], temperature=0.5, **asked
    )
    client.chat.completions.create(messages=[{"role": "user", "content": "Hm?"}], **asked)
    file = client.files.create(file=("rows.jsonl", b'{"item": {"said": "x"}}\n'), purpose="evals")
    made = client.evals.create(
        name="mine", data_source_config={"type": "custom", "item_schema": SCHEMA}, testing_criteria=[CHECK], metadata={"k": "v"}
    )
    source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": row} for row in ROWS]}}
    run = client.evals.runs.create(made.id, data_source=source, name="first")
    while client.evals.runs.retrieve(run.id, eval_id=made.id).status in ("queued", "in_progress"):
        pass
    lines = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}] * 3
    rows = client.files.create(file=("train.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model="stillhouse/tiny-llama", training_file=rows.id)
    client.fine_tuning.jobs.cancel(job.id)
    while client.fine_tuning.jobs.retrieve(job.id).status != "cancelled":
        pass
    return {"completion": completion.id, "file": file.id, "eval": made.id, "run": run.id, "job": job.id}


def bring(account: Account, data_dir: Path, *more: str) -> Any:
    """`stillhouse import openai`, in a process of its own."""
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(data_dir), "--quiet", "import", "openai", "--json"]
    environ = {**os.environ, "OPENAI_API_KEY": "none"}
    done = subprocess.run([*command, "--base-url", account.url, *more], capture_output=True, check=True, env=environ, timeout=200)
    return json.loads(done.stdout)


def test_everything_comes_under_its_own_id_and_only_once(account: Account, tmp_path: Path) -> None:
    data_dir, ids = tmp_path / "data", account.ids
    first = bring(account, data_dir)
    assert {name: (each["imported"], each["aside"]) for name, each in first.items()} == {
        "files": (2, []), "completions": (2, []), "evals": (1, []), "jobs": (1, [])
    }  # fmt: skip
    again = bring(account, data_dir)
    assert all(each["imported"] == 0 and each["known"] == first[name]["imported"] for name, each in again.items())
    with LiveServer(data_dir) as server, openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        reads: list[Callable[[openai.OpenAI], object]] = [
            lambda c: c.chat.completions.retrieve(ids["completion"]).to_dict(),
            lambda c: [message.to_dict() for message in c.chat.completions.messages.list(ids["completion"])],
            lambda c: c.files.content(ids["file"]).read(),
            lambda c: [item.id for item in c.chat.completions.list(metadata={"task": "sky"})],
            lambda c: c.evals.retrieve(ids["eval"]).to_dict(),
            lambda c: [item.to_dict() for item in c.evals.runs.output_items.list(ids["run"], eval_id=ids["eval"])],
            lambda c: [item.id for item in c.evals.runs.output_items.list(ids["run"], eval_id=ids["eval"], status="fail")],
            lambda c: [event.message for event in c.fine_tuning.jobs.list_events(ids["job"])],
        ]
        for read in reads:
            assert read(client) == read(account.client)
        shows: list[Callable[[openai.OpenAI], dict[str, object]]] = [
            lambda c: c.evals.runs.retrieve(ids["run"], eval_id=ids["eval"]).to_dict(),
            lambda c: c.fine_tuning.jobs.retrieve(ids["job"]).to_dict(),
        ]
        for show in shows:
            here, there = show(client), show(account.client)
            assert here.pop("stillhouse") == {"state": "rescued"}
            assert here == {name: value for name, value in there.items() if name != "stillhouse"}


def test_one_kind_alone(account: Account, tmp_path: Path) -> None:
    assert list(bring(account, tmp_path / "data", "--only", "files")) == ["files"]


def test_what_was_not_finished_is_taken_up(account: Account, tmp_path: Path) -> None:
    """Killed at any moment: the next import brings the rest, and nothing twice."""
    data_dir = tmp_path / "data"
    command = [
        sys.executable,
        "-m",
        "stillhouse.cli.main",
        "--data-dir",
        str(data_dir),
        "import",
        "openai",
        "--base-url",
        account.url,
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, "OPENAI_API_KEY": "none"}
    )
    assert process.stderr is not None
    while not (data_dir / "stillhouse.db").exists() and process.poll() is None:
        pass
    process.kill()
    process.wait()
    process.stderr.close()
    done = bring(account, data_dir)
    total = {name: each["imported"] + each["known"] for name, each in done.items()}
    assert total == {"files": 2, "completions": 2, "evals": 1, "jobs": 1}
    assert all(each["aside"] == [] for each in done.values())
