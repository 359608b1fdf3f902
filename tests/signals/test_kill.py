"""SIGKILL at random moments while a cache is written: what was said to be written is there, and the rest is as if nothing was."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillhouse.signals import SignalReader
from tests.signals.child import COUNTS, build
from tests.signals.said import entries, key
from tests.signals.test_folder import contents

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.full)])
@pytest.mark.timeout(600)
def test_a_killed_build_goes_on_to_the_same_bytes(tmp_path: Path, kills: int) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    build(whole)
    chance = random.Random(kills)
    killed, between = 0, 0
    while killed < kills:
        said, ended = build_and_kill(folder, chance.randrange(1, 100 // kills + 2), chance.random() * 0.002)
        reader = SignalReader(folder / key("sampled").name)
        written = len(entries(COUNTS)) - len(reader.missing(entries(COUNTS)))
        assert written >= said, "what was on disk is gone"
        killed += not ended
        between += 0 < written < len(COUNTS)
        if ended:  # faster than its killer: the next ones build another
            assert same_bytes(folder, whole)
            shutil.rmtree(folder)
    assert between, "every kill came too late, or too early"
    build(folder)
    assert same_bytes(folder, whole)


def same_bytes(folder: Path, whole: Path) -> bool:
    return contents(folder / key("sampled").name) == contents(whole / key("sampled").name)


def build_and_kill(root: Path, after: int, linger: float) -> tuple[int, bool]:
    """Kill it `linger` seconds after `after` blocks: how many examples it said it wrote, and whether it ended before."""
    command = [sys.executable, "-m", "tests.signals.child", str(root)]
    said = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        for count, line in enumerate(process.stdout):
            said = int(line)
            if count == after:
                time.sleep(linger)  # a random moment, not a wait for anything
                process.kill()
        process.wait()
    assert process.returncode in (0, -9)
    return said, process.returncode == 0
