"""Files are whole or absent, and what is read is what was put."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.errors import NotFoundError, StoreError
from stillhouse.files import Files, finish_directory, whole_folder, write_atomic


def test_equal_content_is_one_file(tmp_path: Path) -> None:
    files = Files(tmp_path / "files")
    name = files.put(b"content")
    assert files.put(b"content") == name
    assert files.get(name) == files.get(f"sha256:{name}") == b"content"
    assert name in files
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_an_altered_file_is_not_handed_out(tmp_path: Path) -> None:
    files = Files(tmp_path)
    name = files.put(b"content")
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"c0ntent")
    with pytest.raises(StoreError, match="altered"):
        files.get(name)


@settings(deadline=None)
@given(st.text())
def test_a_name_never_becomes_a_path(name: str) -> None:
    with pytest.raises(NotFoundError):
        Files(Path("nowhere")).get(name)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64, "/" * 64, "a" * 64 + "\n"])
def test_what_is_no_hash_is_not_found(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError):
        Files(tmp_path).get(name)


def test_writing_replaces_whole_files_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for content in (b"one", b"", b"three" * 1000):
        write_atomic(target, content)
        assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]


def test_when_the_disk_is_full_the_old_content_stands(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    code = (
        "import sys; from pathlib import Path; from stillhouse.files import write_atomic;"
        "from stillhouse.errors import StoreError\n"
        "try: write_atomic(Path(sys.argv[1]), bytes(100_000))\n"
        "except StoreError as exc: sys.exit(str(exc))"
    )

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [sys.executable, "-B", "-c", code, str(target)]
    process = subprocess.run(command, preexec_fn=limited, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1
    assert f"Cannot write {target}" in process.stderr
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "made" / "place"
    with pytest.raises(KeyError), whole_folder(place) as draft:
        (draft / "half").write_bytes(b"half")
        raise KeyError
    assert list(place.parent.iterdir()) == []
    with whole_folder(place) as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "whole").write_bytes(b"whole")
        assert not place.exists()
    assert (place / "sub" / "whole").read_bytes() == b"whole"
    assert list(place.parent.iterdir()) == [place]


def test_a_folder_takes_no_others_place(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "mine").write_bytes(b"mine")
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "place") as draft:
        (draft / "other").write_bytes(b"other")
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "mine"]


def test_files_that_others_wrote_are_finished_in_place(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocabulary.json").write_bytes(b"{}")
    finish_directory(folder, "manifest.json", b'{"id":1}')
    assert (folder / "manifest.json").read_bytes() == b'{"id":1}'


def test_a_draft_is_whole_or_gone(tmp_path: Path) -> None:
    files = Files(tmp_path)
    with files.draft() as draft:
        draft.write(b"con")
        draft.write(b"tent")
        name = draft.keep()
    assert files.get(name) == b"content" and name == files.put(b"content")
    with pytest.raises(KeyError), files.draft() as draft:
        draft.write(b"half")
        raise KeyError
    assert list((tmp_path / "incoming").iterdir()) == [] and list(files.names()) == [name]


def test_what_a_draft_keeps_is_not_dropped_meanwhile(tmp_path: Path) -> None:
    files = Files(tmp_path)
    name = files.put(b"content")
    with files.draft() as draft:
        draft.write(b"content")
        assert draft.keep() == name
        files.drop([name], tuple)
    files.drop([name, "f" * 64], lambda: {name})
    assert name in files
    files.drop([name], tuple)
    assert name not in files


def test_who_lets_go_while_another_asks_what_is_wanted_loses_nothing(tmp_path: Path) -> None:
    files = Files(tmp_path)
    draft = files.draft()
    draft.write(b"content")
    name = draft.keep()

    def wanted() -> set[str]:
        draft.__exit__(None, None, None)  # it has written down elsewhere that the file is there, after this was looked up
        return set()

    files.drop([name], wanted)
    assert files.get(name) == b"content"


def test_a_file_cut_short_on_disk_is_mended_by_the_next_that_is_the_same(tmp_path: Path) -> None:
    files = Files(tmp_path)
    name = files.put(b"content")
    files.path(name).write_bytes(b"con")
    with files.draft() as draft:
        draft.write(b"content")
        draft.keep()
    assert files.get(name) == b"content"


@pytest.mark.parametrize("size", [20_000, 2_000_000])
def test_a_draft_on_a_full_disk_leaves_nothing(tmp_path: Path, size: int) -> None:
    code = (
        "import sys; from pathlib import Path; from stillhouse.files import Files;"
        "from stillhouse.errors import StoreError\n"
        "try:\n"
        "    with Files(Path(sys.argv[1])).draft() as draft:\n"
        "        for _ in range(int(sys.argv[2]) // 1000): draft.write(bytes(1000))\n"
        "        draft.keep()\n"
        "except StoreError as exc: sys.exit(str(exc))"
    )

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [sys.executable, "-B", "-c", code, str(tmp_path), str(size)]
    process = subprocess.run(command, preexec_fn=limited, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 1 and "Cannot write" in process.stderr, process.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / ".lock"]
