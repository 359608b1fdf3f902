"""An evaluation that is killed at any moment goes on where it was: nothing kept is asked again, and the score is the same."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.interrupted_run import CONCURRENCY, COUNT, run

ROOT = Path(__file__).parent.parent.parent


def kill_at(folder: Path, asked: int) -> None:
    """Start, wait until the ledger has `asked` lines more, SIGKILL."""
    before = lines(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.evaluation.interrupted_run", str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    while lines(folder) < before + asked and process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.005)
    process.kill()
    process.wait()


def lines(folder: Path) -> int:
    ledger = folder / "ledger"
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.full)])
def test_killed_and_resumed_it_ends_with_the_same_score(tmp_path: Path, kills: int) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    source = random.Random(11)
    for _ in range(kills):
        kill_at(cut, source.randint(1, COUNT // kills))
    assert asyncio.run(run(cut)) == asyncio.run(run(whole))
    assert lines(whole) == COUNT
    assert COUNT <= lines(cut) <= COUNT + kills * CONCURRENCY
