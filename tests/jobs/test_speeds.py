"""What the speeds are of: classifiers alone, the same texts for each, torch's threads as they were. No times here."""

from __future__ import annotations

from pathlib import Path

import torch

from stillhouse.artifacts import register
from stillhouse.jobs import speeds
from stillhouse.shipped import builtin_folder
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.static import StaticStudent
from tests.students.tiny_encoders import COMPACT, spec, write_wordpieces
from tests.two_labels import examples

CHATS = [each.messages for each in examples()]


def put(tmp_path: Path, kind: str) -> Path:
    """An untaught classifier's folder, with its manifest."""
    tokenizer = write_wordpieces(tmp_path / "tokenizer")
    config = COMPACT if kind == "encoder" else {}
    built: EncoderStudent | StaticStudent = (EncoderStudent if kind == "encoder" else StaticStudent).build(
        spec(tokenizer, kind, labels=["animal", "fruit"], **config)
    )
    built.save(tmp_path / "draft" / kind)
    register(tmp_path / "draft" / kind, tmp_path, identifier=kind, kind=kind, parameters=1)
    return tmp_path / kind


def test_every_classifier_is_timed_and_nothing_else(tmp_path: Path) -> None:
    folders = {"student": put(tmp_path, "static"), "teacher": put(tmp_path, "encoder"), "base": builtin_folder("base")}
    before = torch.get_num_threads()
    found = speeds.texts_per_second(folders, CHATS, threads=before + 1)
    assert set(found) == {"student", "teacher"}
    assert all(speed > 0 for speed in found.values())
    assert torch.get_num_threads() == before


def test_nothing_to_ask_or_nobody_to_be_asked_is_no_speed(tmp_path: Path) -> None:
    assert speeds.texts_per_second({"student": put(tmp_path, "static")}, []) == {}
    assert speeds.texts_per_second({"student": builtin_folder("base")}, CHATS) == {}


def test_threads_are_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    try:
        with speeds.threads_of_torch(before + 1):
            assert torch.get_num_threads() == before + 1
            raise KeyError
    except KeyError:
        pass
    assert torch.get_num_threads() == before


def test_a_folder_without_a_manifest_is_no_classifier_of_ours(tmp_path: Path) -> None:
    assert speeds.load_classifier(tmp_path) is None
    assert speeds.load_classifier(builtin_folder("teacher")) is None
