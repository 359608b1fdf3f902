"""A student's artifact, made once for the tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.artifacts import register
from tests.students.tiny import tiny_spec, write_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a decoder with random weights that never says its end token."""
    from stillhouse.students.causal import CausalStudent

    root = tmp_path_factory.mktemp("student")
    spec = tiny_spec(write_tokenizer(root / "tokenizer"), initializer_range=0.3, tie_word_embeddings=False)
    student = CausalStudent.build(spec, seed=3)
    student.network.get_output_embeddings().weight.data[student.eos_id] = 0.0
    student.save(root / "trained")
    artifact = register(root / "trained", root / "artifacts", kind="causal", parameters=student.parameters)
    return root / "artifacts" / artifact.id
