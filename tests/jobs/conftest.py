"""A data folder with a small dataset, and runs of the scripted kind in it, whose workers are really processes of their own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stillhouse.dataset import Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.ids import new_id
from stillhouse.jobs import processes, queue
from stillhouse.jobs.watch import settle
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.stores.sql import SqlStore
from stillhouse.workspace import dataset_folder

ROOT = Path(__file__).parent.parent.parent
DEADLINE_SECONDS = 60.0
ENTRY_POINTS = """
[stillhouse.training]
scripted = tests.jobs.scripted:train
[stillhouse.students]
scripted = tests.jobs.scripted:ScriptedStudent
[stillhouse.works]
count = tests.jobs.works:count
wait = tests.jobs.works:wait
die = tests.jobs.works:die
deaf = tests.jobs.works:deaf
[stillhouse.executors]
forked = tests.fakes.forking:ForkedExecutor
"""


def until(condition: Callable[[], bool], what: Callable[[], str], seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what()}"
        time.sleep(0.01)


def kill(pid: int | None) -> None:
    """SIGKILL, and wait until the process is gone: what it had locked is free by then."""
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: processes.identity(pid) is None, lambda: "the worker's death")


class Bench:
    """What a test of runs works with."""

    def __init__(self, settings: Settings, fingerprint: str) -> None:
        self.settings = settings
        self.store: SqlStore = open_store(settings, role="worker")
        self.fingerprint = fingerprint
        self.allowed = settings.data_dir / "allowed"
        self.allow(0)

    def allow(self, steps: int) -> None:
        """How many steps the training may do from here on."""
        draft = self.allowed.with_suffix(".draft")
        draft.write_text(str(steps))
        draft.replace(self.allowed)

    def new_run(self, **options: object) -> Run:
        config = {"steps": 8, "allowed": str(self.allowed), **options}
        recipe = {"name": "scripted", "student": {"kind": "scripted", "config": config}}
        spec = {"recipe": recipe, "dataset": self.fingerprint}
        now = time.time()
        return Run(id=new_id("run"), kind="train", name="scripted", state="queued", created=int(now), heartbeat=now, spec=spec)

    def start(self, **options: object) -> Run:
        run = self.new_run(**options)
        queue.begin(self.store, self.settings, queue.submit(self.store, self.settings, run))
        return run

    def start_kind(self, kind: str, **spec: object) -> Run:
        """One of `works.py`."""
        run = self.new_run().model_copy(update={"kind": kind, "name": kind, "spec": spec})
        queue.begin(self.store, self.settings, queue.submit(self.store, self.settings, run))
        return run

    def resume(self, run: Run) -> None:
        queue.begin(self.store, self.settings, queue.resume(self.store, self.settings, run))

    def look(self, run: Run) -> Run:
        """The run as any reader finds it."""
        found = self.store.run(run.id)
        assert found is not None
        return settle(self.store, found, self.settings.runs)

    def until_state(self, run: Run, state: str) -> Run:
        until(lambda: self.look(run).state == state, lambda: f"{state}; it is {self.look(run)}; {self.printed(run)}")
        return self.look(run)

    def until_step(self, run: Run, step: int) -> None:
        until(lambda: self.look(run).step >= step, lambda: f"step {step}; {self.printed(run)}")

    def kill(self, run: Run) -> None:
        """SIGKILL its worker and wait until it is gone."""
        found = self.store.run(run.id)
        assert found is not None
        kill(found.pid)

    def printed(self, run: Run) -> str:
        log = self.settings.runs / run.id / "log.txt"
        return log.read_text() if log.exists() else ""

    def losses(self, run: Run) -> dict[int, float]:
        """The curve as the store has it."""
        return {event.step: event.metrics["train/loss"] for event in self.store.events(run.id) if event.step is not None}

    def trace(self, run: Run) -> list[tuple[int, int]]:
        """What `works.count` did: which claim, which step."""
        path = self.settings.runs / run.id / "trace"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(epoch), int(step)) for epoch, step in (line.split() for line in lines)]

    def reopen(self) -> None:
        """After the store was closed."""
        self.store = open_store(self.settings, role="worker")

    def close(self) -> None:
        """Let nothing that this test started go on."""
        for run in self.store.runs():
            if run.pid and run.pid != os.getpid() and run.boot and processes.state_of(run.pid, run.boot) == "alive":
                os.kill(run.pid, signal.SIGKILL)
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    plugin = tmp_path / "plugin" / "scripted-1.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted\nVersion: 1\n")
    (plugin / "entry_points.txt").write_text(ENTRY_POINTS)
    paths = [str(plugin.parent), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.syspath_prepend(str(plugin.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    settings = Settings(data_dir=tmp_path / "data")
    examples = [Example(id=f"e{n}", messages=[{"role": "user", "content": f"{n}?"}], answer="yes") for n in range(3)]
    draft = write_dataset_folder(settings.datasets / "draft", examples, name="small", may_train={"lab": "yes"})
    (settings.datasets / "draft").rename(dataset_folder(settings, draft.fingerprint))
    bench = Bench(settings, draft.fingerprint)
    bench.store.put_dataset(draft).result()
    yield bench
    bench.close()
