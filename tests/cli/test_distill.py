"""A linear student from a CSV, and what can be done with it: the verbs of train, models and label on one real run."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.artifacts import MANIFEST, load_manifest
from tests.cli.conftest import Stillhouse

pytestmark = pytest.mark.usefixtures("forked_workers")

RECIPES = Path(__file__).parent.parent.parent / "recipes"
CARD = ["my card is lost", "the card never came", "where is my card", "a new card please", "the card was stolen"]
CASH = ["cash machine kept it", "no cash came out", "wrong cash amount", "cash was not paid out", "i need cash abroad"]

pytest.importorskip("sklearn", reason="needs the extra [classic]")


def write_csv(path: Path, texts: dict[str, list[str]]) -> Path:
    rows = [f"{text},{label}" for label, group in texts.items() for text in group]
    path.write_text("text,category\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_from_a_csv_to_a_model_that_is_listed_exported_and_asked(stillhouse: Stillhouse, tmp_path: Path, data_dir: Path) -> None:
    train = write_csv(tmp_path / "train.csv", {"card": CARD, "cash": CASH})
    test = write_csv(tmp_path / "test.csv", {"card": ["card is gone"], "cash": ["cash is gone"]})
    ran = stillhouse("distill", RECIPES / "linear.toml", "--train", train, "--test", test, "--json")
    assert ran.code == 0, ran.err
    result = ran.json
    run, model, report = result["run"], str(result["model"]["id"]), result["report"]
    assert run["state"] == "succeeded"
    assert report["examples"] == 2
    assert result["dataset"]["counts"] == {"train": 10, "valid": 0, "test": 2}

    assert [item["id"] for item in stillhouse("models", "list", "--json").json] == [model]
    assert stillhouse("models", "show", model, "--json").json["run"] == run["id"]
    assert [item["state"] for item in stillhouse("train", "list", "--json").json] == ["succeeded"]
    assert stillhouse("train", "logs", str(run["id"]), "--json").json["events"][0]["message"] == "Started."
    assert stillhouse("train", "resume", str(run["id"])).code == 5
    assert stillhouse("train", "stop", str(run["id"])).code == 5

    out = tmp_path / "out"
    exported = stillhouse("models", "export", model, "--out", out, "--json").json
    assert {"README.md", "run.json", MANIFEST} <= set(exported["files"])
    assert load_manifest(out).id == model
    assert "accuracy/exact" in (out / "README.md").read_text()
    assert stillhouse("models", "export", model, "--out", out).code == 5

    questions = tmp_path / "questions.txt"
    questions.write_text("lost my card\n\nno cash at all\nmy card did not come\nit kept the cash\n", encoding="utf-8")
    labelled = stillhouse("label", questions, "--model", model, "--out", "labelled", "--json").json
    assert sum(labelled["counts"].values()) == 4
    assert labelled["teachers"] == {model: 4}
    assert labelled["removed"] == {"quarantined": 1}

    watched = stillhouse("train", "watch", str(run["id"]), "--json").out.splitlines()
    assert '"message":"Started."' in watched[0]
    assert '"state":"succeeded"' in watched[-1]

    data_dir.rename(tmp_path / "elsewhere")
    added = stillhouse("models", "add", out, "--json")
    assert added.code == 0, added.err
    assert added.json["id"] == model
    assert stillhouse("models", "add", out, "--json").json == added.json
