"""An encoder-decoder that starts from its teacher: fewer layers on either side, everything else the teacher's, width included."""

from __future__ import annotations

import copy
import re
from typing import Any

import torch

from stillhouse.errors import RecipeError
from stillhouse.recipe import Student as StudentSpec
from stillhouse.students.adapting import adapt
from stillhouse.students.building import with_dropout
from stillhouse.students.initialising.layers import chosen_layers

_DEPTHS = (("num_layers", "num_decoder_layers"), ("encoder_layers", "decoder_layers"))
"""What configurations call the number of layers of the encoder and of the decoder: T5's and BART's."""

_LAYER = re.compile(r"\b(encoder|decoder)\.(block|layers)\.(\d+)\.")


def start_seq2seq(auto: Any, spec: StudentSpec, teacher: Any, *, dropout: float, seed: int) -> tuple[Any, Any]:
    """(network, tokenizer) of a student that has some of its teacher's layers: as many as `spec.config` says of each side.

    Where only the encoder's number is given, the decoder has as many, or all of its own if those are fewer. Raises RecipeError
    where there is no encoder-decoder to start from, or more than layers would have to be cut.
    """
    init = spec.init
    assert init is not None
    if getattr(teacher, "kind", None) != "seq2seq":
        raise RecipeError("[student.init] starts an encoder-decoder from one: set [teacher] model to a T5 of this machine.")
    if spec.base is not None or spec.tokenizer is not None or init.embeddings != "copy" or init.vocabulary != "all":
        raise RecipeError(
            '[student.init] of an encoder-decoder: leave base and tokenizer out, embeddings = "copy", vocabulary = "all".'
        )
    theirs = teacher.network
    config, depths = _shallower(theirs.config, spec.config)
    kept = {
        side: chosen_layers(init.layers, int(getattr(config, name)), int(getattr(theirs.config, name)))
        for side, name in zip(("encoder", "decoder"), depths, strict=True)
    }
    network = auto.from_config(with_dropout(config, dropout), dtype=torch.float32)
    source = theirs.state_dict()
    weights = {name: source[_behind(name, kept, source)] for name in network.state_dict()}
    network.load_state_dict(weights)
    if spec.adapter is not None:
        adapt(network, spec.adapter, seed=seed)
    return network, teacher.tokenizer


def _shallower(config: Any, sizes: dict[str, Any]) -> tuple[Any, tuple[str, str]]:
    """A copy of the teacher's configuration with these numbers of layers, and what it calls them."""
    config = copy.deepcopy(config)
    depths = next(names for names in _DEPTHS if hasattr(config, names[0]) and hasattr(config, names[1]))
    given = {name: size for name, size in sizes.items() if name != "model_type"}
    others = sorted(set(given) - set(depths))
    if others:
        raise RecipeError(
            f"[student.config] {', '.join(others)}: an encoder-decoder that starts from its teacher has the teacher's widths. "
            f"Say {depths[0]} and {depths[1]} alone, or leave [student.init] out."
        )
    if depths[0] in given and depths[1] not in given:
        given[depths[1]] = min(int(given[depths[0]]), int(getattr(config, depths[1])))
    for name, size in given.items():
        setattr(config, name, size)
    return config, depths


def _behind(name: str, kept: dict[str, tuple[int, ...]], source: dict[str, Any]) -> str:
    """The teacher's weight that becomes `name`. T5's position bias is in its first layer alone, and goes to the first."""

    def number(found: re.Match[str]) -> str:
        return f"{found[1]}.{found[2]}.{kept[found[1]][int(found[3])]}."

    renamed = _LAYER.sub(number, name)
    return renamed if renamed in source else name
