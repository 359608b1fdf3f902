"""Metrics that go elsewhere, too: the libraries are asked as they want to be, and a run does not depend on them."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from stillhouse.errors import MissingExtraError
from stillhouse.jobs.claim import Claim
from stillhouse.jobs.journal import EVENTS, Journal, read_events
from stillhouse.jobs.reporting import reporting
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store


def claim(settings: Settings) -> Claim:
    return Claim("run-1", 1, Journal(settings.runs / "run-1", "run-1"), lambda: open_store(settings))


def run(*integrations: dict[str, Any]) -> Run:
    spec = {"integrations": list(integrations), "recipe": {"name": "r"}}
    return Run(id="run-1", kind="train", name="r", state="running", created=1, spec=spec, ref="ftjob-1")


def messages(settings: Settings) -> list[tuple[str, str]]:
    return [(event.level, event.message) for event in read_events(settings.runs / "run-1" / EVENTS)]


def fake_wandb(monkeypatch: pytest.MonkeyPatch, init: Any) -> None:
    module: Any = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)


WANDB = {"type": "wandb", "wandb": {"project": "p", "name": None, "entity": "e", "tags": ["t"]}}


def test_nothing_is_asked_for(tmp_path: Path) -> None:
    with reporting(Settings(data_dir=tmp_path), run(), claim(Settings(data_dir=tmp_path))) as tell:
        tell(1, {"train/loss": 1.0})


def test_wandb_hears_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)
    began: list[dict[str, Any]] = []
    logged: list[Any] = []

    def init(**options: Any) -> Any:
        began.append(options)
        return SimpleNamespace(
            id="w1", log=lambda metrics, step: logged.append((step, metrics)), finish=lambda: logged.append("end")
        )

    fake_wandb(monkeypatch, init)
    with reporting(settings, run(WANDB), claim(settings)) as tell:
        tell(1, {"train/loss": 1.0})
        tell(2, {"train/loss": 0.5})
    assert logged == [(1, {"train/loss": 1.0}), (2, {"train/loss": 0.5}), "end"]
    (options,) = began
    assert (options["project"], options["entity"], options["name"], options["id"]) == ("p", "e", "ftjob-1", "run-1")
    assert options["tags"] == ["t", "stillhouse/finetune", "ftjob-1"] and options["resume"] == "allow"
    assert messages(settings) == [("info", "Metrics go to Weights & Biases, project p, run w1")]


def test_a_service_that_is_away_is_told_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path)

    def init(**options: Any) -> Any:
        raise RuntimeError("no API key")

    fake_wandb(monkeypatch, init)
    with reporting(settings, run(WANDB), claim(settings)) as tell:
        tell(1, {"train/loss": 1.0})
    assert messages(settings) == [("warn", "Weights & Biases cannot be reached, and the run goes on without it: no API key")]


def test_a_library_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data_dir=tmp_path, tensorboard=True)
    monkeypatch.setattr("stillhouse.jobs.reporting.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="tensorboardX"), reporting(settings, run(), claim(settings)):
        pass


def test_tensorboards_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    settings = Settings(data_dir=tmp_path, tensorboard=True)
    with reporting(settings, run(), claim(settings)) as tell:
        tell(3, {"train/loss": 1.0})
    (path,) = (settings.runs / "run-1" / "tensorboard").glob("events.out.tfevents.*")
    assert b"train/loss" in path.read_bytes()
