"""`stillhouse import jsonl` and `stillhouse completions`: in, found, tagged, out again, gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from stillhouse.cli.filters import completion_query
from stillhouse.cli.main import main
from stillhouse.settings import Settings
from stillhouse.stores.base import every
from stillhouse.workspace import Workspace

Run = Callable[..., Any]


def row(number: int, question: str = "Why?", *, model: str = "gpt-4o", finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": f"Because of {number}."}
    return {
        "request": {"model": model, "messages": [{"role": "user", "content": question}], "metadata": {"number": str(number)}},
        "response": {"created": 1_700_000_000 + number, "choices": [{"index": 0, "message": message, "finish_reason": finish}]},
    }


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(orjson.dumps(item) + b"\n" for item in rows))
    return path


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json in a data folder of its own; returns its output, or the exit code when that is not 0."""

    def run(*arguments: object, data: str = "data") -> Any:
        with pytest.raises(SystemExit) as ended:
            main(["--data-dir", str(tmp_path / data), "--quiet", *map(str, arguments), "--json"])
        captured = capsys.readouterr()
        return ended.value.code or (orjson.loads(captured.out) if captured.out else None)

    return run


def test_a_file_comes_in_once_however_often_it_is_read(tmp_path: Path, run: Run) -> None:
    file = write(tmp_path / "f.jsonl", row(1), row(2), {"broken": True}, row(1))
    first, second = run("import", "jsonl", file), run("import", "jsonl", file)
    assert (first["lines"], first["imported"], first["known"], len(first["quarantined"])) == (4, 2, 1, 1)
    assert (second["imported"], second["known"]) == (0, 3)
    assert [found["metadata"] for found in run("completions", "list")] == [{"number": "2"}, {"number": "1"}]


def test_terms_are_yes_or_no_with_a_reason(tmp_path: Path, run: Run) -> None:
    file = write(tmp_path / "f.jsonl", row(1))
    assert run("import", "jsonl", file, "--may-train", "perhaps") == 2
    run("import", "jsonl", file, "--may-train", "no: terms of service")
    assert run("completions", "list")[0]["may_train"] == "no: terms of service"


def test_completions_are_found_by_what_they_are_and_say(tmp_path: Path, run: Run) -> None:
    rows = [row(1), row(2, "我的卡在哪里?"), row(3, model="other"), row(4, finish="length")]
    run("import", "jsonl", write(tmp_path / "f.jsonl", *rows))

    def numbers(*arguments: str) -> list[str]:
        return [found["metadata"]["number"] for found in run("completions", *arguments)]

    assert numbers("list", "--model", "other") == ["3"]
    assert numbers("list", "--metadata", "number=2") == ["2"]
    assert numbers("list", "--finish-reason", "length") == ["4"]
    assert numbers("list", "--limit", "2") == ["4", "3"]
    assert numbers("search", "卡在") == ["2"]
    assert numbers("list", "--since", "1d") == []
    identifier = run("completions", "search", "卡在")[0]["id"]
    shown = run("completions", "show", identifier)
    assert shown["messages"][0]["content"] == "我的卡在哪里?"
    assert run("completions", "show", "chatcmpl-nope") == 5
    assert run("completions", "list", "--since", "yesterday-ish") == 2
    assert run("completions", "list", "--metadata", "number") == 2


def test_tags_are_put_on_and_taken_off(tmp_path: Path, run: Run) -> None:
    run("import", "jsonl", write(tmp_path / "f.jsonl", row(1), row(2)))
    assert run("completions", "tag", "--add", "good", "--metadata", "number=1") == {"tagged": 1}
    assert [found["tags"] for found in run("completions", "list", "--tag", "good")] == [["good"]]
    assert run("completions", "tag", "--remove", "good") == {"tagged": 2}
    assert run("completions", "list", "--tag", "good") == []
    assert run("completions", "tag") == 2


def test_what_is_exported_comes_in_elsewhere(tmp_path: Path, run: Run) -> None:
    run("import", "jsonl", write(tmp_path / "f.jsonl", row(1), row(2)))
    assert run("completions", "export", "--out", tmp_path / "out.jsonl")["completions"] == 2
    assert run("completions", "export", "--out", tmp_path / "out.jsonl") == 5
    assert run("import", "jsonl", tmp_path / "out.jsonl")["known"] == 2
    assert run("import", "jsonl", tmp_path / "out.jsonl", data="elsewhere")["imported"] == 2
    assert run("completions", "list", data="elsewhere") == run("completions", "list")


def test_purging_needs_a_filter_and_a_yes(tmp_path: Path, run: Run) -> None:
    run("import", "jsonl", write(tmp_path / "f.jsonl", row(1), row(2), row(3)))
    nowhere: dict[str, list[str]] = {"erased_in": [], "kept_in": []}
    assert run("completions", "purge", "--yes") == 2
    assert run("completions", "purge", "--metadata", "number=1") == {"chosen": 1, "deleted": 0, **nowhere}
    assert run("completions", "purge", "--metadata", "number=1", "--yes") == {"chosen": 1, "deleted": 1, **nowhere}
    assert len(run("completions", "list")) == 2
    assert run("completions", "purge", "--all", "--yes") == {"chosen": 2, "deleted": 2, **nowhere}
    assert run("completions", "list", "--any-state") == []


def test_purging_names_the_dataset_that_stays(tmp_path: Path, run: Run) -> None:
    run("import", "jsonl", write(tmp_path / "f.jsonl", row(1), row(2), row(3)))
    made = run("dataset", "build", "some", "--metadata", "number=1")
    (kept,) = run("completions", "purge", "--metadata", "number=1", "--yes")["kept_in"]
    assert (kept["kind"], kept["name"], kept["id"]) == ("dataset", "some", made["fingerprint"])
    assert run("completions", "purge", "--metadata", "number=2", "--yes")["kept_in"] == []


def test_an_import_that_was_killed_is_finished_by_running_it_again(tmp_path: Path, run: Run) -> None:
    """The file is a pipe that stops: the process is killed after its first rows are kept, in the midst of the others."""
    rows = [row(number) for number in range(700)]
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    arguments = ["--data-dir", str(tmp_path / "data"), "import", "jsonl", str(pipe)]
    code = "import sys; from stillhouse.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process, pipe.open("wb") as file:
        file.write(b"".join(orjson.dumps(item) + b"\n" for item in rows[:550]) + b"bad line\n")
        file.flush()
        assert process.stderr is not None
        assert b"line 551" in process.stderr.readline(), "the first 500 are kept by now"
        process.send_signal(signal.SIGKILL)
        process.wait()
    again = run("import", "jsonl", write(tmp_path / "f.jsonl", *rows))
    assert (again["imported"], again["known"]) == (200, 500)
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    try:
        kept = list(pages(workspace))
    finally:
        workspace.close()
    assert sorted(kept, key=int) == [str(number) for number in range(700)]


def pages(workspace: Workspace) -> list[str]:
    return [found.metadata["number"] for found in every(workspace.store, completion_query())]
