"""A decoder that starts from its teacher: fewer layers, columns, heads, neurons and tokens of the same architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.recipe import Student as StudentSpec
from stillhouse.students.building import with_dropout
from stillhouse.students.initialising.layers import chosen_layers
from stillhouse.students.initialising.resizing import resized
from stillhouse.students.initialising.vocabulary import pruned
from stillhouse.students.initialising.widths import Heads, cut, keep, measure

TEXTS = 32
"""Examples on which importance is measured."""
LONGEST = 1 << 20
"""No limit: what is too long for the teacher is found by the teacher."""


def start_decoder(
    auto: Any, spec: StudentSpec, teacher: Any, examples: Sequence[Example] | None, *, dropout: float = 0.0
) -> tuple[Any, Any]:
    """(network, tokenizer) of a student cut from its teacher to the sizes in `spec.config`; the rest is the teacher's.

    Raises RecipeError where there is no decoder to start from, or it cannot be cut to these sizes.
    """
    init = spec.init
    assert init is not None
    if getattr(teacher, "kind", None) != "causal":
        raise RecipeError("[student.init] starts a decoder from its teacher: set [teacher] model to a decoder of this machine.")
    if spec.base is not None or spec.tokenizer is not None or init.embeddings != "copy":
        raise RecipeError('[student.init] of a decoder: leave base and tokenizer out, and embeddings = "copy".')
    theirs, tokenizer, vocabulary = teacher.network, teacher.tokenizer, None
    rows = [] if not examples else teacher.encode(examples, max_tokens=LONGEST)
    if init.vocabulary != "all":
        if not rows:
            raise RecipeError(
                '[student.init] vocabulary: there is no train split to tell its tokens from. Set vocabulary = "all".'
            )
        tokenizer, kept_tokens = pruned(teacher.tokenizer, [row.tokens for row in rows], init.vocabulary)
        vocabulary = torch.tensor(kept_tokens)
    sizes = {**spec.config, "vocab_size": theirs.config.vocab_size if vocabulary is None else len(tokenizer)}
    config = resized(theirs.config, {name: value for name, value in sizes.items() if name != "model_type"})
    for name in ("bos", "eos", "pad"):
        setattr(config, f"{name}_token_id", getattr(tokenizer, f"{name}_token_id"))
    network = auto.from_config(with_dropout(config, dropout), dtype=torch.float32)
    layers = chosen_layers(init.layers, int(config.num_hidden_layers), int(theirs.config.num_hidden_layers))
    some = rows[:: -(-len(rows) // TEXTS)] if rows else []

    def run() -> None:
        for row in some:
            theirs(input_ids=torch.tensor([row.tokens]), use_cache=False)

    importance = measure(theirs, run if some else None)
    ffn = int(getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size)
    kept = keep(
        importance, Heads.of(theirs.config), Heads.of(config), width=int(config.hidden_size), ffn=ffn, vocabulary=vocabulary
    )
    left = cut(theirs, network, layers, kept)
    if left:
        raise RecipeError(f"The teacher's weights do not fit these sizes: {', '.join(left[:3])}.")
    return network, tokenizer
