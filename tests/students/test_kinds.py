"""What every kind of student in the registry must hold: saved and loaded, it gives the same answers, and nothing can run code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stillhouse.errors import UsageError
from stillhouse.students import STUDENTS
from stillhouse.students.base import Student, last_user_text, refuse_unsafe_files
from tests.students import tiny_encoders
from tests.students.tiny import tiny_spec, write_tokenizer


def causal(root: Path) -> Student:
    from stillhouse.students.causal import CausalStudent

    student = CausalStudent.build(tiny_spec(write_tokenizer(root / "tokenizer")))
    student.network.eval()
    return student


def encoder(root: Path) -> Student:
    from stillhouse.students.encoder import EncoderStudent

    return EncoderStudent.build(tiny_encoders.spec(tiny_encoders.write_wordpieces(root / "wordpieces"), labels=("card", "pin")))


def linear(root: Path) -> Student:
    from stillhouse.students.linear import LinearStudent

    return LinearStudent.fit(["lost card", "new pin", "card gone", "pin?"], ["card", "pin", "card", "pin"], {})


def seq2seq(root: Path) -> Student:
    from tests.students.tiny_t5 import build

    return build(root)


def static(root: Path) -> Student:
    from stillhouse.students.static import StaticStudent

    tokenizer = tiny_encoders.write_wordpieces(root / "wordpieces")
    return StaticStudent.build(tiny_encoders.spec(tokenizer, "static", labels=("card", "pin")))


MAKERS: dict[str, Callable[[Path], Student]] = {
    "causal": causal,
    "encoder": encoder,
    "linear": linear,
    "seq2seq": seq2seq,
    "static": static,
}
CHATS = [[{"role": "user", "content": text}] for text in ("where is my card", "pin", "?")]


@pytest.mark.parametrize("kind", STUDENTS.names())
def test_a_saved_student_gives_the_same_answers(tmp_path: Path, kind: str) -> None:
    student = MAKERS[kind](tmp_path)
    student.save(tmp_path / "saved")
    loaded: Student = STUDENTS.resolve(kind).load(tmp_path / "saved")
    assert loaded.kind == kind
    assert loaded.parameters == student.parameters > 0
    assert loaded.answer(CHATS, max_tokens=6) == student.answer(CHATS, max_tokens=6)
    assert len(loaded.answer(CHATS, max_tokens=6)) == 3


@pytest.mark.parametrize("kind", STUDENTS.names())
def test_what_is_saved_runs_no_code(tmp_path: Path, kind: str) -> None:
    MAKERS[kind](tmp_path).save(tmp_path / "saved")
    refuse_unsafe_files(tmp_path / "saved")
    (tmp_path / "saved" / "model.pkl").touch()
    with pytest.raises(UsageError, match="model.pkl"):
        STUDENTS.resolve(kind).load(tmp_path / "saved")


def test_the_last_user_text_is_what_a_classifier_reads() -> None:
    assert last_user_text([*CHATS[0], {"role": "assistant", "content": "card"}]) == "where is my card"
