from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.dataset import SPLITS, Example
from stillhouse.errors import ConflictError, FormatError, NotFoundError
from stillhouse.files import whole_folder
from stillhouse.formats import examples as folders
from stillhouse.formats.examples import fingerprint_of, read_examples, read_manifest, write_dataset_folder

examples = st.lists(
    st.builds(
        Example,
        id=st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        messages=st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=20)}), max_size=2),
        answer=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        split=st.sampled_from(SPLITS),
        weight=st.floats(0, 10),
    ),
    max_size=8,
)


def rows() -> list[Example]:
    return [Example(id=str(i), messages=[], answer=f"line\u2028{i}\r\n", split=SPLITS[i % 3]) for i in range(7)]


@given(rows=examples)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[Example]) -> None:
    folder = tmp_path_factory.mktemp("data") / "version"
    manifest = write_dataset_folder(folder, rows, name="any")
    assert read_manifest(folder) == manifest
    read = [example for split in SPLITS for example in read_examples(folder, split)]
    assert read == [row for split in SPLITS for row in rows if row.split == split]
    assert manifest.counts == {split: sum(row.split == split for row in rows) for split in SPLITS}
    assert manifest.fingerprint == fingerprint_of(rows) == fingerprint_of(read)


def test_the_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    one = write_dataset_folder(tmp_path / "one", rows(), name="one", teachers={"gpt": 7}, created=1)
    two = write_dataset_folder(tmp_path / "two", rows(), name="two")
    assert (one.created, one.teachers) == (1, {"gpt": 7})
    assert one.fingerprint == two.fingerprint != fingerprint_of(rows()[:-1])


def test_a_version_is_immutable(tmp_path: Path) -> None:
    first = write_dataset_folder(tmp_path / "data", rows(), name="data", created=1)
    assert write_dataset_folder(tmp_path / "data", rows(), name="data", created=2) == first
    with pytest.raises(ConflictError, match="a folder of its own"):
        write_dataset_folder(tmp_path / "data", rows()[1:], name="data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_file_that_was_changed_is_not_read(tmp_path: Path) -> None:
    write_dataset_folder(tmp_path / "data", rows(), name="data")
    path = tmp_path / "data" / "train.jsonl"
    path.write_bytes(path.read_bytes().replace(b"line", b"lime"))
    with pytest.raises(FormatError, match="was changed"):
        read_examples(tmp_path / "data", "train")
    path.unlink()
    with pytest.raises(NotFoundError, match="train.jsonl is missing"):
        read_examples(tmp_path / "data", "train")
    assert len(read_examples(tmp_path / "data", "valid")) == 2


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"manifest.json is missing"):
        read_examples(tmp_path, "train")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(FormatError, match="not a dataset's manifest"):
        read_manifest(tmp_path)


def test_two_writers_of_one_version_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def overtaken(place: Path) -> Iterator[Path]:
        monkeypatch.undo()
        write_dataset_folder(place, rows(), name="d", created=1)
        with whole_folder(place) as draft:
            yield draft

    monkeypatch.setattr(folders, "whole_folder", overtaken)
    assert write_dataset_folder(tmp_path / "d", rows(), name="d", created=2).created == 1
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
