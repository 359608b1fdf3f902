"""`cot generate` killed by SIGKILL: every rationale comes in the end, once, and only what was under way is paid for twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from stillhouse.curation.rationales.preparing import prepare
from stillhouse.formats.originals.base import Pair
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.tasks import PAPER_TASKS
from stillhouse.upstream import Upstream
from tests.fakes.upstream import FakeUpstream

CONCURRENCY = 4


def explain(data_dir: Path, paper: Path, *options: str) -> list[str]:
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(data_dir), "cot", "generate", str(paper), "--json"]
    words = ["--task", "coin_flip", "--model", "big", "--to", str(paper), "--method", "zs_cot", "-d", "2", "--key", "kept"]
    return [*command, *words, "--concurrency", str(CONCURRENCY), *options]


def has_got(upstream: FakeUpstream, requests: int) -> bool:
    return len(upstream.ledger) >= requests


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.full)])
def test_every_rationale_comes_once(tmp_path: Path, kills: int) -> None:
    questions = 10 * (kills + 1)
    prepare(
        "coin_flip", [Pair(each.text, each.answer) for each in PAPER_TASKS.resolve("coin_flip")(questions)], tmp_path / "paper"
    )
    requests = 2 * 2 * questions  # two steps, two rationales
    with FakeUpstream() as upstream:
        store = open_store(Settings(data_dir=tmp_path / "data"), role="command")
        store.put_upstream(Upstream(name="fake", base_url=upstream.base_url, models=("big",))).result()
        store.close()
        command = explain(tmp_path / "data", tmp_path / "paper")
        for kill in range(1, kills + 1):
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ) as process:
                with upstream.seen:  # two minutes: a busy machine starts a process slowly
                    assert upstream.seen.wait_for(partial(has_got, upstream, kill * requests // (kills + 1)), 120)
                process.kill()
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        paid = sum(served.whole for served in upstream.ledger if served.path.endswith("/chat/completions"))
    made = json.loads(ended.stdout)
    assert (made["rationales"], made["left_out"]) == (2 * questions, {})
    rows = [row for rows in json.loads(Path(made["file"]).read_bytes())["data"].values() for row in rows]
    assert len({(row["sample_index"], row["completion_index"]) for row in rows}) == len(rows) == 2 * questions
    assert all(row["completion"] for row in rows)
    assert requests <= paid <= requests + kills * CONCURRENCY
