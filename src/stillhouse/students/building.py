"""A transformers network with a vocabulary, loaded from a folder or shaped by a recipe: what decoders and encoder-decoders share.

Tokenizers and configurations are read in `folders.py`; classifiers, whose heads are their own affair, are not built here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig

from stillhouse.errors import RecipeError, UsageError
from stillhouse.recipe import Student as StudentSpec
from stillhouse.students.adapting import adapt
from stillhouse.students.folders import load_config, load_tokenizer

_DROPOUT_FIELDS = (
    "activation_dropout",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "classifier_dropout",
    "dropout",
    "dropout_rate",
    "embd_pdrop",
    "hidden_dropout",
    "hidden_dropout_prob",
    "resid_pdrop",
    "seq_classif_dropout",
)
_OLDER_FIELDS = {"rope_theta", "rope_scaling"}  # taken by transformers, but not among a configuration's own fields


def build_network(
    auto: Any, spec: StudentSpec, base_folder: Path | None, *, dropout: float, seed: int, example: str, **tokens: str
) -> tuple[Any, Any]:
    """(network, tokenizer) of a student to be trained, adapters in it where `spec` has them.

    `auto`: transformers' AutoModel class of the kind. `example`: a model_type to name in messages. `tokens`: further token ids
    of a configuration from scratch and the tokenizer's that they are (decoder_start="pad").
    Raises RecipeError for a spec that cannot be built, UsageError for a folder that cannot be loaded.
    """
    if base_folder is not None and spec.config:
        raise RecipeError(
            f"[student] config shapes a network from scratch; this one starts from {base_folder}. Drop one of the two."
        )
    tokenizer_folder = Path(spec.tokenizer) if spec.tokenizer else base_folder
    if tokenizer_folder is None:
        raise RecipeError(f"A {spec.kind} student from scratch needs a tokenizer: set [student] tokenizer to its folder.")
    tokenizer = load_tokenizer(tokenizer_folder)
    if base_folder is not None:
        network = load_network(auto, base_folder, with_dropout(load_config(base_folder), dropout))
    else:
        config = with_dropout(config_from_scratch(spec.config, tokenizer, spec.kind, example, tokens), dropout)
        network = _random_network(auto, config, seed, spec.kind, example)
    _check_vocabulary(network, tokenizer)
    if spec.adapter is not None:
        adapt(network, spec.adapter, seed=seed)
    return network, tokenizer


def _random_network(auto: Any, config: Any, seed: int, kind: str, example: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            return auto.from_config(config, dtype=torch.float32)
        except ValueError as exc:
            raise RecipeError(
                f"[student.config] model_type = '{config.model_type}' is no network of kind '{kind}'. One that is: {example}."
            ) from exc


def load_network(auto: Any, folder: Path, config: Any) -> Any:
    """The weights in `folder`, in float32. Raises UsageError where they cannot be loaded or some are missing."""
    try:
        network, notes = auto.from_pretrained(
            folder, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise UsageError(f"The model in {folder} cannot be loaded: {exc}.") from exc
    if notes["missing_keys"]:
        missing = sorted(notes["missing_keys"])
        raise UsageError(f"The model in {folder} is not whole: {len(missing)} weights are missing, {missing[0]} among them.")
    return network


def config_from_scratch(options: dict[str, Any], tokenizer: Any, kind: str, example: str, tokens: dict[str, str]) -> Any:
    """What `[student.config]` says, the vocabulary and special tokens being the tokenizer's. Raises RecipeError."""
    model_type = options.get("model_type")
    if not isinstance(model_type, str):
        raise RecipeError(f"A {kind} student from scratch needs [student.config] model_type, e.g. {example}.")
    given = {name: value for name, value in options.items() if name != "model_type"}
    try:
        known = AutoConfig.for_model(model_type)
        unknown = sorted(set(given) - set(known.to_dict()) - set(known.attribute_map) - _OLDER_FIELDS)
        if unknown:
            raise RecipeError(f"[student.config] {', '.join(unknown)}: no such option of '{model_type}'.")
        if "num_attention_heads" in given and "num_key_value_heads" in known.to_dict():
            given.setdefault("num_key_value_heads", given["num_attention_heads"])  # not the full-size model's number
        own = {"bos": "bos", "eos": "eos", "pad": "pad", **tokens}
        special = {f"{name}_token_id": getattr(tokenizer, f"{token}_token_id") for name, token in own.items()}
        return AutoConfig.for_model(model_type, **{"vocab_size": len(tokenizer), **special, **given})
    except (ValueError, TypeError, StrictDataclassError) as exc:
        raise RecipeError(f"[student.config] does not shape a '{model_type}': {exc}.") from exc


def with_dropout(config: Any, dropout: float) -> Any:
    """`config` with this rate wherever the architecture has one. Raises RecipeError where it has none."""
    names = [name for name in _DROPOUT_FIELDS if getattr(config, name, None) is not None]
    if dropout and not names:
        raise RecipeError(f"The architecture '{config.model_type}' has no dropout; set training.dropout = 0.")
    for name in names:
        setattr(config, name, dropout)
    return config


def _check_vocabulary(network: Any, tokenizer: Any) -> None:
    if len(tokenizer) > network.config.vocab_size:
        room = network.config.vocab_size
        raise RecipeError(f"The tokenizer has {len(tokenizer)} tokens, and the network has room for {room} (vocab_size).")
