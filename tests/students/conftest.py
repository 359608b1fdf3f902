"""The tokenizer that the encoders of a module share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.students.tiny_encoders import write_wordpieces


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wordpieces(tmp_path_factory.mktemp("wordpieces"))
