"""A tokenizer with fewer tokens: those that the texts use, and the small ones that any other text can still be spelled with.

WordPiece and BPE. Texts of kept tokens become the same tokens as before, under new numbers in the old order; what is exported is
a plain `tokenizer.json`. Nothing here knows a network: `kept` says which rows of a table remain.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from stillhouse.errors import RecipeError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def pruned(tokenizer: Any, texts: Iterable[Sequence[int]], how: Literal["task"] | int) -> tuple[Any, list[int]]:
    """(tokenizer, kept): `kept[new id]` is the old id. `texts`: the training texts as the old tokenizer's ids.

    task: every token that occurs. A number: the most frequent ones, then the tokenizer's first ones, until there are so many.
    Raises RecipeError for another kind of tokenizer, or a number too small for the tokens that spell everything.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    kind = state["model"]["type"]
    if kind not in ("WordPiece", "BPE"):
        raise RecipeError(
            f'A vocabulary of kind {kind} cannot be pruned, only WordPiece and BPE. Set [student.init] vocabulary = "all".'
        )
    counts = Counter(token for text in texts for token in text)
    always = _always(state)
    wanted = sorted(counts, key=lambda token: (-counts[token], token))
    if how != "task":
        if how < len(always):
            raise RecipeError(f"[student.init] vocabulary = {how}: {len(always)} tokens are needed to spell any text. Take more.")
        wanted += [token for token in range(len(tokenizer)) if token not in counts]
    kept = _closed(state, always, wanted, len(tokenizer) if how == "task" else how)
    return _rebuilt(tokenizer, state, kept), kept


def _always(state: dict[str, Any]) -> set[int]:
    """Special tokens, and those that spell any text: single characters, whole or continued, and bytes."""
    model = state["model"]
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    special = {token["id"] for token in state["added_tokens"]}
    small = {number for token, number in model["vocab"].items() if len(token.removeprefix(prefix).removesuffix(suffix)) == 1}
    bytes_ = {number for token, number in model["vocab"].items() if token.startswith("<0x") and token.endswith(">")}
    unknown = model["vocab"].get(model.get("unk_token") or "")
    return special | small | bytes_ | ({unknown} if unknown is not None else set())


def _closed(state: dict[str, Any], always: set[int], wanted: Sequence[int], limit: int) -> list[int]:
    """`always`, and as many of `wanted` as fit in `limit`, each with the tokens that BPE makes it of; in the old order."""
    parts = _parts(state["model"])
    kept = set(always)
    for token in wanted:
        needed, open_ = {token} - kept, [token]
        while open_:
            new = {part for part in parts.get(open_.pop(), ()) if part not in kept and part not in needed}
            needed |= new
            open_ += new
        if len(kept) + len(needed) <= limit:
            kept |= needed
    return sorted(kept)


def _parts(model: dict[str, Any]) -> dict[int, set[int]]:
    """Token -> what a merge may make it of."""
    found: dict[int, set[int]] = {}
    for first, second in _merges(model):
        whole = model["vocab"].get(first + second)
        if whole is not None:
            found.setdefault(whole, set()).update({model["vocab"][first], model["vocab"][second]})
    return found


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges", ())]
    return [(first, second) for first, second in pairs]


def _rebuilt(tokenizer: Any, state: dict[str, Any], kept: Sequence[int]) -> Any:
    """The tokenizer with the kept tokens alone, renumbered wherever numbers stand."""
    new = {old: number for number, old in enumerate(kept)}
    model = state["model"]
    model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
    if "merges" in model:
        vocabulary = model["vocab"]
        model["merges"] = [
            list(pair)
            for pair in _merges(model)
            if pair[0] in vocabulary and pair[1] in vocabulary and "".join(pair) in vocabulary
        ]
    for token in state["added_tokens"]:
        token["id"] = new[token["id"]]
    _renumber(state["post_processor"], new)
    state["padding"] = state["truncation"] = None
    names = {name: getattr(tokenizer, name) for name in NAMES if getattr(tokenizer, name, None) is not None}
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(state)), **names)
    fast.chat_template = tokenizer.chat_template
    fast.model_max_length = tokenizer.model_max_length
    return fast


def _renumber(part: Any, new: dict[int, int]) -> None:
    """Put new numbers into a post-processor: templates name `ids`, BERT's and RoBERTa's own name (token, id)."""
    if isinstance(part, list):
        for inner in part:
            _renumber(inner, new)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key == "ids":
                part[key] = [new[number] for number in value]
            elif key in ("sep", "cls") and isinstance(value, list) and len(value) == 2:
                part[key] = [value[0], new[value[1]]]
            else:
                _renumber(value, new)
