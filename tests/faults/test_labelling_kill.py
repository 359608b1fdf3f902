"""The worker of a labelling killed with SIGKILL again and again: every question is stored once, and paid once.

The teacher lives in a process of its own and counts what it served, out of reach of what is killed.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from stillhouse.formats.examples import each_example
from stillhouse.jobs import queue
from stillhouse.jobs.labels import Wish, plan_labelling
from stillhouse.jobs.watch import follow
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace
from tests.fakes.server import add_upstream
from tests.fakes.teacher import TeacherProcess


@pytest.mark.parametrize(
    ("prompts", "kills", "concurrency", "rate"),
    [(600, 3, 50, 400), pytest.param(20_000, 50, 200, 800, marks=[pytest.mark.full, pytest.mark.timeout(1800)])],
)
def test_every_question_is_stored_once_and_paid_once_but_for_what_was_under_way(
    tmp_path: Path, prompts: int, kills: int, concurrency: int, rate: int
) -> None:
    (tmp_path / "questions.txt").write_text("\n".join(f"question number {i}" for i in range(prompts)))
    options = ["--low", "0.15", "--high", "0.3", "--rate", str(rate), "--burst", "50", "--refuse", "0.01"]
    with TeacherProcess(*options) as teacher:
        add_upstream(tmp_path / "data", teacher.url, "gpt-4o")
        workspace = Workspace(Settings(data_dir=tmp_path / "data"))
        wish = Wish(source=str(tmp_path / "questions.txt"), model="gpt-4o", out="labelled", concurrency=concurrency)
        run = queue.submit(workspace.store, workspace.settings, plan_labelling(workspace, wish))
        for kill in range(1, kills + 1):
            queue.begin(workspace.store, workspace.settings, run)
            workspace.close()  # the worker writes from here on
            teacher.ledger(came=kill * prompts // (kills + 1))
            run = _killed(workspace, run)
        queue.begin(workspace.store, workspace.settings, run)
        run = _end_of(workspace, run)
        served = teacher.ledger()
    assert run.state == "succeeded", run.error
    dataset = workspace.dataset("labelled")
    examples = [each for split in dataset.files for each in each_example(workspace.dataset_folder(dataset.fingerprint), split)]
    left_out = dataset.removed.get("near duplicate", 0)
    sources = {example.source for example in examples}
    assert len(examples) == len(sources) == prompts - left_out
    assert served["prompts"] == prompts
    print(f"{prompts} prompts, {kills} kills at {concurrency}: {served['answered']} answers given, {served['refused']} refused")
    assert prompts <= served["answered"] <= prompts + kills * concurrency
    workspace.close()


def _killed(workspace: Workspace, run: Run) -> Run:
    current = queue.find_run(workspace.store, run.id)
    assert current.pid is not None
    os.kill(current.pid, signal.SIGKILL)
    ended = _end_of(workspace, run)
    assert ended.state == "interrupted"
    return queue.resume(workspace.store, workspace.settings, ended)


def _end_of(workspace: Workspace, run: Run) -> Run:
    workspace.close()
    *_, (ended, _) = follow(lambda: workspace.store, run.id, workspace.settings)
    return ended
