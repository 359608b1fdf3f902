"""Words that a model holds, the most frequent first, each with those most like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.students.base import WordTable
from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.lexicon import words_alike
from stillhouse.students.static import StaticStudent
from tests.students.tiny_encoders import COMPACT, PARTS, spec


def test_words_are_whole_and_like_those_of_the_nearest_rows(tokenizer: Path) -> None:
    student = EncoderStudent.build(spec(tokenizer, labels=["a", "b"]))
    names = [student.tokenizer.convert_ids_to_tokens(token) for token in range(len(student.tokenizer))]
    table_VH = torch.nn.functional.one_hot(torch.arange(len(names))).float()
    table_VH[names.index("cat")] += 2 * table_VH[names.index("dog")]  # nearer to the dog than to any other
    alike = words_alike(student.tokenizer, table_VH, neighbours=2)
    assert list(alike) == [word for word in PARTS if not word.startswith("##")]
    assert alike["cat"][0] == "dog" and alike["dog"][0] == "cat"
    assert all(len(others) == 2 and word not in others for word, others in alike.items())


@pytest.mark.parametrize("config", [{}, COMPACT])
def test_encoders_know_words(tokenizer: Path, config: dict[str, Any]) -> None:
    student = EncoderStudent.build(spec(tokenizer, labels=["a", "b"], **config))
    assert isinstance(student, WordTable)
    assert "cat" in student.words_alike()


def test_static_students_know_words(tokenizer: Path) -> None:
    student = StaticStudent.build(spec(tokenizer, "static", labels=["a", "b"]))
    assert isinstance(student, WordTable)
    assert "pear" in student.words_alike()
