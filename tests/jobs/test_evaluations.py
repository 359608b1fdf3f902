"""An evaluation that was killed before its report was kept: judges, like candidates, are not paid twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.dataset import Dataset
from stillhouse.errors import StoreError
from stillhouse.evaluation import Plan, keep_report
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.grade import Report
from stillhouse.jobs import evaluations
from stillhouse.jobs.evaluations import Graders, evaluate_models
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace
from tests.evaluation.models import Speaker, example

EXAMPLES = [example(n, "yes") for n in range(6)]
VERDICT = json.dumps({"reasoning": "so it is", "mark": 5})


async def evaluated(workspace: Workspace, dataset: Dataset) -> Report:
    graders = Graders(("rubric:accuracy",), judge="judge")
    return await evaluate_models(workspace, dataset, {"student": "candidate"}, Plan(name="t", dataset=""), graders)


async def test_what_a_judge_said_before_a_kill_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(Settings(data_dir=tmp_path))
    draft = write_dataset_folder(tmp_path / "draft", EXAMPLES, name="d")
    folder = workspace.dataset_folder(draft.fingerprint)
    folder.parent.mkdir()
    (tmp_path / "draft").rename(folder)
    models = {"candidate": Speaker(lambda _: "perhaps"), "judge": Speaker(lambda _: VERDICT, {"prompt_tokens": 9})}
    monkeypatch.setattr(Workspace, "chat_model", lambda _, name: models[name])

    def killed(*_: Any, **__: Any) -> Report:
        raise StoreError("the process is gone")

    monkeypatch.setattr(evaluations, "keep_report", killed)
    with pytest.raises(StoreError):
        await evaluated(workspace, draft)
    asked = {name: len(model.requests) for name, model in models.items()}
    assert asked == {"candidate": 6, "judge": 6}
    monkeypatch.setattr(evaluations, "keep_report", keep_report)
    report = await evaluated(workspace, draft)
    assert {name: len(model.requests) for name, model in models.items()} == asked
    assert report.results[0].judging["judge"].requests == 6
    workspace.close()
