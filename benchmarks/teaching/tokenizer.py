"""A tokenizer of a benchmark's own: pieces of bytes, learnt from its texts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_tokenizer(folder: Path, texts: Iterable[str], size: int, special: dict[str, str], template: str | None = None) -> Path:
    """`size` pieces, and what transformers calls them (`special`: eos_token -> <eos>, ..., first), as it loads them."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    pieces = ByteLevelBPETokenizer()
    pieces.train_from_iterator(texts, vocab_size=size, special_tokens=list(special.values()), show_progress=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **special)
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder
