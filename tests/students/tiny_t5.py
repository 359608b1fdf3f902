"""The smallest encoder-decoders there are: letters as tokens, layers of 16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from stillhouse.recipe import Student
from stillhouse.students.seq2seq import Seq2SeqStudent
from tests.students.tiny import write_tokenizer

T5 = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
T5_1_1 = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
UMT5 = {**T5, "model_type": "umt5"}
MT5 = {**T5, "model_type": "mt5"}
BART = {
    "model_type": "bart",
    "d_model": 16,
    **{f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in (("layers", 1), ("ffn_dim", 32))},
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 64,
}
FAMILY: dict[str, dict[str, Any]] = {"t5": T5, "t5-1.1": T5_1_1, "umt5": UMT5, "mt5": MT5, "bart": BART}


def t5_spec(tokenizer: Path, config: dict[str, Any] | None = None, **changes: Any) -> Student:
    return Student(kind="seq2seq", config={**(config or T5), **changes}, tokenizer=str(tokenizer))


def build(root: Path, config: dict[str, Any] | None = None, *, template: str | None = None, **changes: Any) -> Seq2SeqStudent:
    """A student in evaluation mode, its tokenizer written into `root` first. Its embeddings are of ordinary size.

    T5's own are not: scaled for training from scratch, they make the first answers of a random network all alike.
    """
    if not (root / "tokenizer").exists():
        write_tokenizer(root / "tokenizer", template=template)
    student = Seq2SeqStudent.build(t5_spec(root / "tokenizer", config, **changes))
    student.network.eval()
    return student


def shake(student: Seq2SeqStudent, scale: float = 0.5) -> None:
    """Random numbers in every weight, norms and biases too, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
