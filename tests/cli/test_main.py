"""The frame of the command line: exit codes, pure JSON, a cold start without the heavy libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import orjson
import pytest

from stillhouse import __version__
from stillhouse.cli import main as command_line
from stillhouse.cli.main import NOUNS, Noun, main

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, the noun `failing` being there too; returns its exit code."""
    monkeypatch.setattr(command_line, "NOUNS", {**NOUNS, "failing": Noun("tests.cli.failing:app", "For tests.", "Start here")})

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("StillhouseError", 1),
        ("TrainingError", 1),
        ("UpstreamError", 1),
        ("UsageError", 2),
        ("RecipeError", 2),
        ("MissingExtraError", 2),
        ("SchemaTooNewError", 2),
        ("PermissionRefusedError", 4),
        ("NotFoundError", 5),
        ("ConflictError", 5),
        ("StoreError", 69),
        ("StoreBusyError", 75),
        ("OverloadedError", 75),
        ("KeyboardInterrupt", 130),
    ],
)
def test_every_error_has_its_exit_code(run: Run, kind: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("failing", "error", kind) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ") or kind == "KeyboardInterrupt"


def test_a_quality_gate_has_the_code_3(run: Run) -> None:
    assert run("failing", "gate") == 3


def test_a_record_that_cannot_be_is_a_usage_error_that_names_the_field(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("failing", "record") == 2
    assert "alias" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["nosuch", "failing nosuch", "failing error", "--nosuch", "failing gate --x"])
def test_what_cannot_be_parsed_is_a_usage_error(run: Run, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*line.split()) == 2
    assert capsys.readouterr().out == ""


def test_json_is_alone_on_stdout_and_talk_on_stderr(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("failing", "show", "--json") == 0
    captured = capsys.readouterr()
    assert orjson.loads(captured.out) == [{"alias": "my-task", "model": "student-1", "created": 1, "note": "你好"}]
    assert captured.err == "about to show\n"


def test_quiet_silences_the_talk_but_not_the_errors(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--quiet", "failing", "show") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "my-task" in captured.out
    assert run("--quiet", "failing", "error", "NotFoundError") == 5
    assert capsys.readouterr().err == "Error: it is so\n"


def test_a_record_without_a_table_is_shown_field_by_field(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("failing", "plain") == 0
    assert "student-1" in capsys.readouterr().out
    assert run("failing", "plain", "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["model"] == "student-1"


def test_half_a_surrogate_pair_leaves_as_an_escape(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("failing", "half") == 0
    assert capsys.readouterr().out.count("cut \\ud83d") == 2
    assert run("failing", "half", "--json") == 0
    line, _, whole = capsys.readouterr().out.partition("\n")
    assert json.loads(line) == json.loads(whole) == {"text": "cut \ud83d"}


def test_the_version(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"{__version__}\n"


HELP = """
import sys
from stillhouse.cli.main import main
try:
    main(["--help"])
except SystemExit as ended:
    assert ended.code == 0
watched = [name for name in sys.modules if name.partition(".")[0] in ("stillhouse", "pydantic", "sqlalchemy", "torch", "sklearn")]
print(" ".join(watched), file=sys.stderr)
"""


def test_help_lists_every_noun_without_importing_it() -> None:
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "120"}
    command = [sys.executable, "-c", HELP]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    for name, noun in NOUNS.items():
        assert name in process.stdout
        assert noun.help in process.stdout
    loaded = {"stillhouse", "stillhouse.errors", "stillhouse.cli", "stillhouse.cli.main", "stillhouse.cli.output"}
    assert set(process.stderr.split()) == loaded
