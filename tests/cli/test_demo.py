"""The demo on very few questions: every station is there, what it prints was measured, nothing is left running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("openai")

TINY = ("--questions", "12", "--samples", "1", "--unseen", "4", "--steps", "10")


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one small demo said with --json, and its data folder."""
    data_dir = tmp_path_factory.mktemp("demo") / "data"
    ended = _stillhouse(data_dir, "demo", *TINY, "--json")
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout)
    return {**said, "talk": ended.stderr}


def _stillhouse(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(data_dir), *arguments]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)


@pytest.mark.slow
def test_teacher_student_control_and_base_are_measured_on_both_tasks(toured: dict[str, Any]) -> None:
    results = {result["role"]: result for result in toured["report"]["results"]}
    assert set(results) == {"teacher", "student", "control", "base"}
    assert toured["report"]["examples"] == 8
    for result in results.values():
        assert {"task=coin_flip", "task=last_letters"} <= set(result["slices"])
    assert 5 * results["student"]["parameters"] <= results["teacher"]["parameters"]
    assert results["teacher"]["accuracy"]["answer"]["value"] >= 0.7


@pytest.mark.slow
def test_the_dataset_is_made_of_what_the_gateway_stored(toured: dict[str, Any]) -> None:
    stored = json.loads(_stillhouse(Path(toured["data_dir"]), "completions", "list", "--limit", "100", "--json").stdout)
    rows = stored["items"] if isinstance(stored, dict) else stored
    assert len(rows) == 25  # 24 questions to the teacher, one to the student
    counts = toured["dataset"]["counts"]
    assert counts["test"] == 8
    assert counts["train"] + counts["valid"] + sum(toured["dataset"]["removed"].values()) == 24


@pytest.mark.slow
def test_the_alias_is_the_students_at_the_end_and_can_be_rolled_back(toured: dict[str, Any]) -> None:
    data_dir = Path(toured["data_dir"])
    [route] = json.loads(_stillhouse(data_dir, "route", "show", "--json").stdout)
    assert (route["alias"], route["model"]) == ("puzzles", toured["student"]["id"])
    assert json.loads(_stillhouse(data_dir, "route", "rollback", "puzzles", "--json").stdout)["model"] != toured["student"]["id"]


@pytest.mark.slow
def test_every_station_tells_how_long_it_took(toured: dict[str, Any]) -> None:
    assert list(toured["seconds"]) == ["start", "ask", "dataset", "train", "evaluate", "deploy"]
    for seconds in toured["seconds"].values():
        assert f"{seconds:.1f} s" in toured["talk"]


def test_a_teacher_needs_the_address_of_its_api(tmp_path: Path) -> None:
    ended = _stillhouse(tmp_path, "demo", "--teacher", "gpt-4o")
    assert ended.returncode == 2
    assert "--base-url" in ended.stderr
