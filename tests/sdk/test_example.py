"""The example runs as it is written, from the first question to the deployed student; only smaller."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.server import LiveServer

pytest.importorskip("torch")

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "distil_with_the_sdk.py"


@pytest.mark.slow
@pytest.mark.engine
def test_distil_with_the_sdk(tmp_path: Path) -> None:
    with LiveServer(tmp_path / "data") as server:
        sizes = ("--questions", "24", "--steps", "4", "--unseen", "3")
        done = subprocess.run([sys.executable, str(SCRIPT), server.url, *sizes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    for beginning in ("  teacher: says it: ", "  base: says it: ", "  student: says it: ", "puzzles: "):
        assert any(line.startswith(beginning) for line in said), done.stdout
