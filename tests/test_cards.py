"""The model card: everything in it was kept, and no name breaks out of its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.artifact import Artifact
from stillhouse.artifacts import verify, write_manifest
from stillhouse.cards import card, export_model
from stillhouse.errors import ConflictError
from stillhouse.grade import Interval, ModelResult, Report


def artifact(**fields: object) -> Artifact:
    values = {"id": "student-1", "kind": "causal", "created": 1, "parameters": 6, "size_bytes": 4, "hashes": {}, **fields}
    return Artifact.model_validate(values)


def report(model: str) -> Report:
    share = Interval(value=0.9, low=0.85, high=0.94)
    result = ModelResult(model=model, role="student", accuracy={"exact": share})
    return Report(
        id="report-1", name="r", created=1, dataset="sha256:1", split="test", examples=50, graders=("exact",), results=(result,)
    )


@given(name=st.text(min_size=1), base=st.text(min_size=1))
def test_the_front_matter_is_one_json_value_a_line(name: str, base: str) -> None:
    text = card(artifact(name=name, recipe={"student": {"base": base}}), [report("student-1")])
    front = text.split("\n---\n")[0].removeprefix("---\n").split("\n")
    fields = {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in front}
    assert fields["base_model"] == base
    assert fields["model-index"][0]["name"] == name


def test_terms_and_measurements_are_told(tmp_path: Path) -> None:
    text = card(artifact(may_train={"lab": "no: 2c"}, overridden=("lab",), teacher="big"), [report("student-1"), report("other")])
    assert "lab: no: 2c" in text
    assert "overridden by name" in text
    assert text.count("90.0%") == 1
    assert "Not evaluated yet." in card(artifact(), [])


def test_an_export_can_be_verified_and_never_overwrites(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.json").write_text("[1]")
    made = write_manifest(folder, kind="causal", parameters=1, identifier="student-1")
    files = export_model(made, folder, [report("student-1")], tmp_path / "out")
    assert files == ["README.md", "artifact.json", "run.json", "weights.json"]
    assert verify(tmp_path / "out").id == "student-1"
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["artifact"]["hashes"] == made.hashes
    assert record["evaluations"][0]["result"]["accuracy"]["exact"]["value"] == 0.9
    with pytest.raises(ConflictError, match="holds something"):
        export_model(made, folder, [], tmp_path / "out")


@pytest.mark.parametrize(
    ("kind", "config", "library", "task"),
    [
        ("causal", {}, "transformers", "text-generation"),
        ("seq2seq", {}, "transformers", "text2text-generation"),
        ("encoder", {"model_type": "bert"}, "transformers", "text-classification"),
        ("encoder", {"objective": "tokens"}, "transformers", "token-classification"),
        ("encoder", {"architecture": "compact", "objective": "pair"}, "stillhouse", "text-classification"),
        ("static", {}, "stillhouse", "text-classification"),
        ("linear", {}, "skops", "text-classification"),
    ],
)
def test_model_hubs_are_told_what_it_does_and_what_loads_it(kind: str, config: dict[str, str], library: str, task: str) -> None:
    text = card(artifact(kind=kind, recipe={"student": {"config": config}}), [report("student-1")])
    assert f'library_name: "{library}"\npipeline_tag: "{task}"\n' in text
    assert f'"task": {{"type": "{task}"}}' in text
