"""A model folder is an artifact when its manifest is there, and is trusted when every file is as the manifest says."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.artifacts import MANIFEST, load_manifest, register, verify, write_manifest
from stillhouse.errors import ConflictError, NotFoundError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some files, one of them further down."""
    folder = tmp_path / "model"
    (folder / "extra").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "extra" / "notes.txt").write_text("notes")
    (folder / "model.safetensors").write_bytes(bytes(40))
    return folder


def test_registering_copies_hashes_and_counts(folder: Path, tmp_path: Path) -> None:
    artifact = register(folder, tmp_path / "artifacts", kind="causal", parameters=10, name="mine")
    home = tmp_path / "artifacts" / artifact.id
    assert (artifact.kind, artifact.parameters, artifact.name) == ("causal", 10, "mine")
    assert sorted(artifact.hashes) == ["config.json", "extra/notes.txt", "model.safetensors"]
    assert artifact.size_bytes == sum((home / name).stat().st_size for name in artifact.hashes)
    assert verify(home) == load_manifest(home) == artifact
    assert not (folder / MANIFEST).exists()


def test_an_artifact_keeps_its_id_and_is_registered_once(folder: Path, tmp_path: Path) -> None:
    made = write_manifest(folder, kind="causal", parameters=10, identifier="student-1", teacher="gpt-4o")
    assert register(folder, tmp_path / "artifacts", kind="causal", parameters=10) == made
    assert verify(tmp_path / "artifacts" / "student-1") == made
    with pytest.raises(ConflictError, match="student-1"):
        register(folder, tmp_path / "artifacts", kind="causal", parameters=10)


def test_a_copy_that_was_cut_off_is_no_artifact_and_is_done_again(folder: Path, tmp_path: Path) -> None:
    write_manifest(folder, kind="causal", parameters=10, identifier="student-1")
    half = tmp_path / "artifacts" / "student-1"
    half.mkdir(parents=True)
    (half / "left-over").write_text("x")
    with pytest.raises(NotFoundError):
        load_manifest(half)
    register(folder, tmp_path / "artifacts", kind="causal", parameters=10)
    assert not (half / "left-over").exists()


def test_any_change_is_found(folder: Path) -> None:
    write_manifest(folder, kind="causal", parameters=10)
    for name in ("config.json", "extra/notes.txt", "model.safetensors"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b"x")
        with pytest.raises(UsageError, match="was changed"):
            verify(folder)
        (folder / name).unlink()
        with pytest.raises(UsageError, match="is missing"):
            verify(folder)
        (folder / name).write_bytes(before)
    (folder / "added.json").write_text("{}")
    with pytest.raises(UsageError, match="is not in the manifest"):
        verify(folder)


def test_a_manifest_is_written_once(folder: Path) -> None:
    write_manifest(folder, kind="causal", parameters=10)
    with pytest.raises(ConflictError, match="never changed"):
        write_manifest(folder, kind="causal", parameters=10)


def test_links_and_folders_without_a_model_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("config.json")
    with pytest.raises(UsageError, match="is a link"):
        register(folder, tmp_path / "artifacts", kind="causal", parameters=10)
    with pytest.raises(UsageError, match="no model folder"):
        register(tmp_path / "nowhere", tmp_path / "artifacts", kind="causal", parameters=10)


def test_a_broken_manifest_is_named(folder: Path) -> None:
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(UsageError, match="cannot be read"):
        load_manifest(folder)
