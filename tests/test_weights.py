"""Counting parameters reads headers only, and agrees with what was saved."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from stillhouse.errors import UsageError
from stillhouse.weights import count_parameters


def write_safetensors(path: Path, shapes: dict[str, list[int]]) -> None:
    """As the format says; the data area is empty, because nobody reads it here."""
    tensors = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = repr({"__metadata__": {"format": "pt"}, **tensors}).replace("'", '"').encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def test_every_file_counts(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", {"embeddings": [10, 4], "scale": []})
    write_safetensors(tmp_path / "model-2.safetensors", {"head": [3, 5]})
    assert count_parameters(tmp_path) == 10 * 4 + 1 + 15


def test_it_agrees_with_the_library(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    save_file = pytest.importorskip("safetensors.numpy").save_file
    tensors = {f"t{n}": numpy.zeros((n, n + 1), dtype="float32") for n in range(1, 5)}
    save_file(tensors, str(tmp_path / "model.safetensors"))
    assert count_parameters(tmp_path) == sum(math.prod(tensor.shape) for tensor in tensors.values())


@pytest.mark.parametrize(
    "content", [b"", b"short", struct.pack("<Q", 2**60), struct.pack("<Q", 4) + b"nope", struct.pack("<Q", 2) + b"[]"]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match="no safetensors file"):
        count_parameters(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \.safetensors file"):
        count_parameters(tmp_path)
