"""A run that was stopped or killed goes on to the same weights and says the same numbers on its way."""

from __future__ import annotations

import json
import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from stillhouse.errors import RecipeError
from tests.training import child
from tests.training.forked import Forked
from tests.training.runs import Log, recipe, run, sums, weights_hash, write_sums


@pytest.mark.parametrize("stop_at", [0, 1, 5, 7, 11])
def test_a_stopped_run_goes_on_exactly(tmp_path: Path, stop_at: int) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path)
    whole = run(plan, tmp_path / "data", tmp_path / "whole")
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=stop_at)
    assert not (tmp_path / "parts" / "student").exists()
    assert max(first.curve, default=0) == stop_at
    second = run(plan, tmp_path / "data", tmp_path / "parts")
    assert {**first.curve, **second.curve} == whole.curve
    assert len(whole.curve) == 12
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")


def test_a_finished_student_is_left_as_it_is(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, steps=2)
    run(plan, tmp_path / "data", tmp_path / "work")
    before = (tmp_path / "work" / "student" / "artifact.json").read_bytes()
    assert run(plan, tmp_path / "data", tmp_path / "work").curve == {}
    assert (tmp_path / "work" / "student" / "artifact.json").read_bytes() == before


def test_checkpoints_of_another_dataset_are_not_gone_on_with(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    write_sums(tmp_path / "other", sums()[:-1])
    run(recipe(tmp_path), tmp_path / "data", tmp_path / "work", stop_at=6)
    with pytest.raises(RecipeError, match="another recipe or dataset"):
        run(recipe(tmp_path), tmp_path / "other", tmp_path / "work")


def test_checkpoints_of_another_recipe_are_not_gone_on_with(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    run(recipe(tmp_path), tmp_path / "data", tmp_path / "work", stop_at=6)
    with pytest.raises(RecipeError, match="another recipe"):
        run(recipe(tmp_path, learning_rate=1e-2), tmp_path / "data", tmp_path / "work")


def test_how_often_checkpoints_are_written_may_change_meanwhile(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    run(recipe(tmp_path), tmp_path / "data", tmp_path / "work", stop_at=6)
    log = run(recipe(tmp_path, checkpoint_every=1, evaluate_every=1), tmp_path / "data", tmp_path / "work")
    assert min(log.curve) == 7


@pytest.mark.slow
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.full)])
@pytest.mark.timeout(1200)
def test_a_killed_run_goes_on_exactly(tmp_path: Path, kills: int) -> None:
    """SIGKILL at random moments: while loading, between steps, while a checkpoint is written."""
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, steps=8 * kills, checkpoint_every=1)
    whole = run(plan, tmp_path / "data", tmp_path / "whole")
    (tmp_path / "recipe.json").write_bytes(plan.json_bytes())
    chance = random.Random(kills)
    log = Log()
    for _ in range(kills):
        _train_in_a_process(tmp_path, log, kill_after=chance.randrange(8), linger=chance.random() * 0.05)
    killed_at = max(log.curve, default=0)
    _train_in_a_process(tmp_path, log)
    assert killed_at < 8 * kills, "every kill came too late"
    assert log.curve == whole.curve
    assert weights_hash(tmp_path / "killed") == weights_hash(tmp_path / "whole")


def _train_in_a_process(root: Path, log: Log, *, kill_after: int | None = None, linger: float = 0.0) -> None:
    """Collect what it reports; kill it `linger` seconds after `kill_after` reports, or let it end and be well."""
    with closing(Forked(child.main, root)) as process:
        for count, line in enumerate(process.stdout, start=0):
            report = json.loads(line)
            if report["metrics"]:
                again = log.curve.setdefault(report["step"], report["metrics"])
                assert again == report["metrics"], "a step that was done twice had other numbers"
            if count == kill_after:
                time.sleep(linger)  # a random moment, not a wait for anything
                process.kill()
        process.wait()
        assert process.returncode == (0 if kill_after is None else -9), process.stderr.read()
