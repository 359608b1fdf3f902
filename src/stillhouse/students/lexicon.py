"""Which words a model holds, and which of them it takes for alike: read from its tokenizer and its input embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from stillhouse.tensors import has_bfloat16

NEIGHBOURS = 15
"""Words most like a word, by the cosine of their embeddings."""
SLICE = 2048


def words_alike(tokenizer: Any, table_VH: Tensor, *, neighbours: int = NEIGHBOURS) -> dict[str, tuple[str, ...]]:
    """Whole word -> the words most like it. Words are single tokens of two letters or more, in the tokenizer's order, which for
    those that are trained by counting is from the most frequent on.

    `table_VH`: the input embeddings. Takes V^2 H operations, in bfloat16 where the processor is made for it.
    """
    names = [tokenizer.convert_ids_to_tokens(token) for token in range(len(tokenizer))]
    words = [(token, word) for token, name in enumerate(names) if (word := _whole_word(name, tokenizer)) is not None]
    table_WH = table_VH.detach()[torch.tensor([token for token, _ in words], dtype=torch.long, device=table_VH.device)]
    rows_WH = torch.nn.functional.normalize(table_WH.float(), dim=-1)
    if has_bfloat16(rows_WH.device):
        rows_WH = rows_WH.bfloat16()
    alike: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(words), SLICE):
        near_RK = (rows_WH[start : start + SLICE] @ rows_WH.T).float().topk(min(neighbours + 1, len(words)), dim=-1).indices
        for (_, word), near in zip(words[start : start + SLICE], near_RK.tolist(), strict=True):
            alike[word] = tuple(other for other in (words[i][1] for i in near) if other != word)[:neighbours]
    return alike


def _whole_word(name: str | None, tokenizer: Any) -> str | None:
    """The word that a token is, if it is one: not a continuation (WordPiece's ##), for BPE with its leading-space mark."""
    if name is None or name in tokenizer.all_special_tokens or name.startswith("##"):
        return None
    bare = name.lstrip("Ġ▁")
    marked = tokenizer.backend_tokenizer.model.__class__.__name__ in ("BPE", "Unigram")
    if marked and bare == name:
        return None
    return bare.lower() if bare.isascii() and bare.isalpha() and len(bare) > 1 else None
