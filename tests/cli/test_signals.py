"""`stillhouse signals`: listed, checked, taken away; and an upstream's tokenizer, without which none come from an API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stillhouse.cli.main import main
from tests.signals.said import write
from tests.students.tiny import write_tokenizer

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json; its output, or the exit code and the message when that is not 0."""

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(["--data-dir", str(tmp_path), *arguments, "--json"])
        output = capsys.readouterr()
        return json.loads(output.out) if ended.value.code == 0 else (ended.value.code, output.err)

    return run


def test_a_cache_is_listed_checked_and_taken_away(run: Run, tmp_path: Path) -> None:
    assert run("signals", "list") == []
    folder = write(tmp_path / "signals", "top_k", [3, 1, 4], each=1)
    [listed] = run("signals", "list")
    assert (listed["name"], listed["key"]["tier"]) == (folder.name, "top_k")
    checked = run("signals", "verify", folder.name[:6])
    assert (checked["whole"], checked["examples"], checked["rows"]) == (True, 3, 8)
    assert checked["bytes_per_row"] == pytest.approx((folder / "shard-0000.blocks").stat().st_size / 8, rel=0.2)
    (folder / "shard-0000.blocks").write_bytes((folder / "shard-0000.blocks").read_bytes()[:-1])
    checked = run("signals", "verify", folder.name)
    assert (checked["whole"], checked["examples"]) == (False, 2)
    assert "ends before its block" in checked["damage"][0]
    assert run("signals", "remove", folder.name) == {"name": folder.name, "removed": True}
    assert run("signals", "verify", folder.name)[0] == 5
    assert not folder.exists()


def test_the_table_shows_what_decides_a_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "signals", "sampled", [2])
    with pytest.raises(SystemExit):
        main(["--data-dir", str(tmp_path), "signals", "list"])
    assert "sampled" in capsys.readouterr().out


def test_signals_of_a_dataset_that_is_not_there_are_not_kept(run: Run) -> None:
    assert run("signals", "keep", "absent")[0] == 5


def test_an_upstream_names_its_tokenizer(run: Run, tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "tokenizer")
    added = run("upstream", "add", "here", "--base-url", "http://h/v1", "--tokenizer", str(folder))
    assert added["tokenizer"] == str(folder)
    code, message = run("upstream", "add", "other", "--base-url", "http://h/v1", "--tokenizer", str(tmp_path))
    assert code == 2
    assert "no tokenizer.json" in message
