"""Tokenizer and configuration of a transformers folder, read safely: no code run, nothing fetched. Weights are the kinds' own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from stillhouse.errors import UsageError
from stillhouse.records import canonical_json
from stillhouse.students.base import refuse_unsafe_files

transformers_logging.disable_progress_bar()  # it would draw bars of its own on stderr while loading and saving
transformers_logging.set_verbosity_error()  # what is missing in a folder is told by whoever loads it, as an error or not at all


def load_tokenizer(folder: Path) -> Any:
    """What tokenizer.json says, exactly. AutoTokenizer would rebuild it by the architecture beside it, to other ids."""
    refuse_foreign_code(folder)
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(f"There is no usable tokenizer in {folder}: tokenizer.json is missing.")
    try:
        return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as exc:  # the tokenizers library raises plain Exceptions
        raise UsageError(f"There is no usable tokenizer in {folder}: {exc}.") from exc


def load_config(folder: Path) -> Any:
    """The configuration, of whatever architecture. Raises UsageError where there is none or it does not hold together."""
    refuse_foreign_code(folder)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, StrictDataclassError) as exc:
        raise UsageError(f"There is no usable model in {folder}: {exc}.") from exc


def tokenizer_hash(tokenizer: Any) -> str:
    """Equal for tokenizers that turn every text into the same ids (padding and truncation settings do not count)."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    kept = {key: value for key, value in content.items() if key not in {"padding", "truncation", "version"}}
    return f"sha256:{hashlib.sha256(canonical_json(kept)).hexdigest()}"


def refuse_foreign_code(folder: Path) -> None:
    """Raises UsageError where a file of `folder` could run code on loading, or a configuration names code of its own."""
    refuse_unsafe_files(folder)
    for path in sorted(folder.glob("*config.json")):
        try:
            content = json.loads(path.read_bytes())
        except ValueError as exc:
            raise UsageError(f"{path} is not valid JSON: {exc}.") from exc
        if _names_foreign_code(content):
            raise UsageError(
                f"{path} asks for code of its own (auto_map). It is never run: only transformers' own models are loaded."
            )


def _names_foreign_code(content: Any) -> bool:
    if isinstance(content, dict):
        return "auto_map" in content or any(_names_foreign_code(value) for value in content.values())
    return isinstance(content, list) and any(_names_foreign_code(value) for value in content)
