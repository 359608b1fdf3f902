"""Labels for texts as a run: the same votes in a process of its own, queued, paused, gone on with and told about like any run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import uvloop

from stillhouse.jobs import queue
from stillhouse.jobs.claim import Claim
from stillhouse.jobs.classification import Wish
from stillhouse.jobs.classifying import check, classify, functions_of, write_left
from stillhouse.jobs.labels import PATIENCE_SECONDS
from stillhouse.jobs.questions import absolute, find_questions
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace

KIND = "classify"


def plan_classifying(workspace: Workspace, wish: Wish, left_out: Path | None = None) -> Run:
    """The run that does it, once all that can be known to go wrong has been looked for.

    `left_out`: the file that texts without a label are written to. Raises as `classify` does before it asks anybody.
    """
    wish = wish.model_copy(update={"source": absolute(wish.source)})
    if wish.functions is not None:
        wish = wish.model_copy(update={"functions": wish.functions.absolute()})
    check(wish, functions_of(workspace, wish))
    find_questions(workspace, wish.source, wish.column)
    for name in wish.teachers:
        workspace.target(name)
    spec = {"wish": wish.model_dump(mode="json"), "left_out": None if left_out is None else str(left_out.absolute())}
    return queue.planned(KIND, wish.out, spec, resource="network")


def work(settings: Settings, run: Run, claim: Claim) -> dict[str, Any] | None:
    """Label what `run.spec["wish"]` says: `{"dataset": FINGERPRINT, ...}`, None when it was asked to stop.

    How they voted stands in the dataset's manifest.
    """
    workspace = Workspace(settings)
    workspace.share()
    try:
        wish = Wish.model_validate(run.spec["wish"])
        texts = sum(1 for _ in find_questions(workspace, wish.source, wish.column))
        done = uvloop.run(classify(workspace, wish, _Telling(claim, wish, texts), lambda: claim.should_stop))
    finally:
        workspace.close()
    if done is None:
        return None
    if run.spec["left_out"] is not None:
        write_left(done.left, Path(run.spec["left_out"]))
    claim.insist(claim.flush, PATIENCE_SECONDS)
    claim.journal.append(f"The dataset is {done.dataset.name} {done.dataset.fingerprint[:19]}.")
    return {
        "dataset": done.dataset.fingerprint,
        "name": done.dataset.name,
        "unasked": done.unasked,
        "left_out": len(done.left),
    }


class _Telling:
    """Progress of the voters as one: a step is a teacher's answer. Functions are fast, and not counted."""

    def __init__(self, claim: Claim, wish: Wish, texts: int) -> None:
        self._claim = claim
        self._total = len(wish.teachers) * texts * wish.samples
        self._done = dict.fromkeys(wish.teachers, 0)

    def __call__(self, name: str, done: int, of: int) -> None:
        if name not in self._done or done == self._done[name]:
            return
        self._done[name] = done
        step = sum(self._done.values())
        self._claim.journal.append(step=step, metrics={f"classify/{name}": float(done)})
        self._claim.progress(step, self._total)
