"""`stillhouse dataset`: from files and completions to versions, compared, checked, exported; and the next one from a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stillhouse.artifact import Artifact
from stillhouse.dataset import Example
from stillhouse.evaluation import keep_report
from stillhouse.files import Files
from stillhouse.formats.examples import read_examples
from stillhouse.grade import Answered, Grade, Interval, ModelResult, Report
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace
from tests.cli.test_completions import Run, row, run, write
from tests.curation.test_build import questions

__all__ = ["run"]

BANKING = Path(__file__).parents[2].parent / "shared" / "data" / "banking77"


def csv(path: Path, *rows: str) -> Path:
    path.write_text("text,category\n" + "".join(f"{line}\n" for line in rows), encoding="utf-8")
    return path


def labelled(count: int, seed: int = 0) -> list[str]:
    return [f"{text},label{number % 3}" for number, text in enumerate(questions(count, seed))]


def examples_of(tmp_path: Path, dataset: dict[str, Any]) -> list[Example]:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    folder = workspace.dataset_folder(dataset["fingerprint"])
    return [example for split in ("train", "valid", "test") for example in read_examples(folder, split)]


def test_a_file_becomes_a_version_and_bad_rows_are_listed(tmp_path: Path, run: Run) -> None:
    file = csv(tmp_path / "f.csv", *labelled(60), "one field only", ",x")
    made = run("dataset", "import", "tickets", file)
    assert sum(made["counts"].values()) == 60
    assert made["removed"] == {"quarantined": 2}
    assert [(item["line"], item["reason"]) for item in made["recipe"]["quarantined"]] == [
        (62, "1 fields, the header has 2"),
        (63, "'text' is empty"),
    ]
    assert run("dataset", "show", "tickets") == made
    assert len(run("dataset", "show", "tickets", "--rows", "2")) == 6
    assert run("dataset", "check", "tickets")["problems"] == []


def test_importing_again_changes_nothing_and_another_name_for_it_is_refused(tmp_path: Path, run: Run) -> None:
    file = csv(tmp_path / "f.csv", *labelled(20))
    assert run("dataset", "import", "a", file) == run("dataset", "import", "a", file)
    assert len(run("dataset", "list")) == 1
    assert run("dataset", "import", "b", file) == 5


def test_given_splits_are_kept_and_their_leaks_fail_the_import(tmp_path: Path, run: Run) -> None:
    train, test = csv(tmp_path / "train.csv", *labelled(30)), csv(tmp_path / "test.csv", labelled(30)[7].upper(), "New?,label1")
    assert run("dataset", "import", "t", train, "--test", test) == 2
    assert run("dataset", "list") == []
    dropped = run("dataset", "import", "t", train, "--test", test, "--drop-leaks")
    assert dropped["counts"] == {"train": 29, "valid": 0, "test": 2}
    allowed = run("dataset", "import", "t", train, "--test", test, "--allow-leaks", "1")
    assert (allowed["counts"]["train"], allowed["waived_leaks"]) == (30, 1)
    found = run("dataset", "diff", f"t@{dropped['fingerprint'][7:19]}", f"t@{allowed['fingerprint'][7:19]}")
    assert (len(found["added"]), found["same"]) == (1, 31)


@pytest.mark.parametrize("options", [["--split", "1,1,1"], ["--split", "a"], ["--near-duplicates", "2"], ["--format", "xlsx"]])
def test_options_that_cannot_be_are_usage_errors(tmp_path: Path, run: Run, options: list[str]) -> None:
    assert run("dataset", "import", "t", csv(tmp_path / "f.csv", *labelled(5)), *options) == 2


def test_a_damaged_version_is_found(tmp_path: Path, run: Run) -> None:
    made = run("dataset", "import", "t", csv(tmp_path / "f.csv", *labelled(20)))
    path = tmp_path / "data" / "datasets" / made["fingerprint"][7:] / "train.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert run("dataset", "check", "t") == 1


@pytest.mark.parametrize("name", ["csv", "openai_jsonl", "parquet"])
def test_what_is_exported_can_be_imported(tmp_path: Path, run: Run, name: str) -> None:
    made = run("dataset", "import", "t", csv(tmp_path / "f.csv", *labelled(40)))
    exported = run("dataset", "export", "t", "--format", name, "--out", tmp_path / "out")
    assert exported["dataset"]["fingerprint"] == made["fingerprint"]
    files = exported["files"]
    train, valid, test = (tmp_path / "out" / next(f for f in files if split in f) for split in ("train", "valid", "test"))
    again = run("dataset", "import", "again", train, "--valid", valid, "--test", test)
    assert again["counts"] == made["counts"]
    assert [e.id for e in examples_of(tmp_path, again)] == [e.id for e in examples_of(tmp_path, made)]


def stored(tmp_path: Path, run: Run, texts: list[str], **fields: Any) -> None:
    rows = [row(number, text, **fields) for number, text in enumerate(texts)]
    run("import", "jsonl", write(tmp_path / "rows.jsonl", *rows), "--upstream", "openai", "--may-train", "no: terms")


def test_completions_become_a_version_with_its_filters_teachers_and_terms(tmp_path: Path, run: Run) -> None:
    stored(tmp_path, run, questions(50))
    stored(tmp_path, run, questions(10, seed=1), model="other")
    made = run("dataset", "build", "mine", "--model", "gpt-4o")
    assert (sum(made["counts"].values()), made["teachers"]) == (50, {"gpt-4o": 50})
    assert made["may_train"] == {"openai": "no: terms"}
    assert made["recipe"]["completions"] == {"model": "gpt-4o"}
    assert run("dataset", "build", "none", "--model", "nobody") == 2
    assert run("dataset", "build") == 2


def test_only_right_answers_on_request(tmp_path: Path, run: Run) -> None:
    rows = [row(number, text) for number, text in enumerate(questions(30))]
    for number, item in enumerate(rows):
        item["request"]["metadata"]["reference"] = f"Because of {number}." if number % 2 else "Something else."
    run("import", "jsonl", write(tmp_path / "rows.jsonl", *rows))
    made = run("dataset", "build", "right", "--only-right", "exact")
    assert sum(made["counts"].values()) == 15
    assert made["removed"] == {"not right by 'exact'": 15}


def a_report(tmp_path: Path, dataset: dict[str, Any]) -> Report:
    """A student that got every test question wrong, as an evaluation keeps it."""
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    tested = [example for example in examples_of(tmp_path, dataset) if example.split == "test"]
    wrong = {"exact": Grade(score=0, passed=False)}
    rows = [Answered(example=example.id, model="student-1", answer="?", grades=wrong) for example in tested]
    result = ModelResult(model="student-1", role="student", accuracy={"exact": Interval(value=0, low=0, high=0.1)})
    report = Report(
        id="report-1",
        name="r",
        created=0,
        dataset=dataset["fingerprint"],
        split="test",
        examples=len(rows),
        graders=("exact",),
        results=(result,),
    )
    student = Artifact(id="student-1", kind="linear", created=0, parameters=1, size_bytes=1, hashes={}, run="run-1")
    try:
        workspace.store.put_artifact(student).result()
        return keep_report(report, rows, store=workspace.store, put=Files(workspace.settings.files).put)
    finally:
        workspace.close()


def test_a_reports_failures_lead_to_the_next_version(tmp_path: Path, run: Run) -> None:
    stored(tmp_path, run, questions(60))
    first = run("dataset", "build", "mine", "--model", "gpt-4o")
    report = a_report(tmp_path, first)
    tested = [example.messages[-1]["content"] for example in examples_of(tmp_path, first) if example.split == "test"]
    likes = [text.rstrip("?").rpartition(" ")[0] + " altogether different endings here, please?" for text in tested]
    stored(tmp_path, run, [*likes, *tested, "Totally unrelated: 12345"])
    stored(tmp_path, run, questions(5, seed=5), model="student-1")
    second = run("dataset", "build", "--from-report", report.id)
    assert second["parents"] == [first["fingerprint"]]
    before, after = examples_of(tmp_path, first), examples_of(tmp_path, second)
    added = {e.messages[-1]["content"] for e in after} - {e.messages[-1]["content"] for e in before}
    assert added and added <= set(likes), "questions like the failures, never those themselves"
    assert [e for e in after if e.split != "train"] == [e for e in before if e.split != "train"]
    assert second["removed"]["answered by a student"] == 5
    assert second["recipe"]["from_report"]["failures"] == len(tested)


@pytest.mark.skipif(not BANKING.exists(), reason="../shared/data is not here: no real data to import")
def test_banking77_is_imported_whole_and_its_leaks_are_seen(tmp_path: Path, run: Run) -> None:
    files = BANKING / "train.csv", "--test", BANKING / "test.csv"
    assert run("dataset", "import", "banking77", *files) == 2
    made = run("dataset", "import", "banking77", *files, "--drop-leaks")
    assert sum(made["counts"].values()) + sum(made["removed"].values()) == 10_003 + 3_080
    assert made["removed"]["leak: asked in a later split too"] >= 7
