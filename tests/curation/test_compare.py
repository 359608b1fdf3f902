"""Two versions side by side, and a version against its manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.curation import Options, build, check, diff
from stillhouse.dataset import Dataset
from stillhouse.formats.examples import write_dataset_folder
from tests.curation.examples import an_example, collected
from tests.curation.test_build import questions


def test_a_diff_names_what_was_added_removed_changed_and_moved() -> None:
    before = [an_example("same"), an_example("gone"), an_example("edited", "old"), an_example("moved", split="train")]
    after = [an_example("same"), an_example("new"), an_example("edited", "new"), an_example("moved", split="test")]
    found = diff(before, after)
    assert found.added == (after[1].id,)
    assert found.removed == (before[1].id,)
    assert [(change.before, change.after) for change in found.changed] == [("old", "new")]
    assert found.moved == (after[3].id,)
    assert found.same == 1


def written(folder: Path) -> Dataset:
    version = build("d", collected(*map(an_example, questions(40))), Options())
    return write_dataset_folder(folder, version.examples, name="d")


def test_a_version_as_it_was_written_has_nothing_wrong(tmp_path: Path) -> None:
    assert check(written(tmp_path / "d"), tmp_path / "d") == []


def test_a_file_that_was_edited_is_found(tmp_path: Path) -> None:
    dataset = written(tmp_path / "d")
    path = tmp_path / "d" / "train.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Question", b"question", 1))
    (problem,) = check(dataset, tmp_path / "d")
    assert "train.jsonl was changed" in problem


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([an_example("a", " ")], "has an empty answer"),
        ([an_example("a"), an_example("a")], "stands 2 times"),
        ([an_example("a").model_copy(update={"group": "sha256:0"})], "a group that is not its prompt's hash"),
        ([an_example("a"), an_example("A", split="test")], "1 pairs stand in two splits"),
    ],
)
def test_rows_that_should_not_be_are_found(tmp_path: Path, rows: list, problem: str) -> None:  # type: ignore[type-arg]
    dataset = write_dataset_folder(tmp_path / "d", rows, name="d")
    assert any(problem in line for line in check(dataset, tmp_path / "d"))


def test_a_manifest_that_does_not_match_is_found(tmp_path: Path) -> None:
    dataset = written(tmp_path / "d").model_copy(update={"counts": {"train": 1}, "fingerprint": "sha256:0"})
    problems = " ".join(check(dataset, tmp_path / "d"))
    assert "the manifest says 1" in problems and "the manifest says sha256:0" in problems
