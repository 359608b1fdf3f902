"""Bases on the Hugging Face hub: whether there is one by an id, and its files: safetensors, JSON and text alone."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from stillhouse.errors import MissingExtraError, NotFoundError

PATTERNS = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.jinja"]
"""No file of the hub that could run code is ever fetched."""
SECONDS = 10.0


def looks_like_hub(name: str) -> bool:
    """`org/model`."""
    owner, slash, model = name.partition("/")
    return bool(slash and owner and model) and "/" not in model and not name.startswith(("stillhouse/", "."))


def offered_by_hub(name: str) -> None:
    """Raises NotFoundError where the hub has no such model or cannot be asked, MissingExtraError without its library."""
    if find_spec("huggingface_hub") is None:
        raise MissingExtraError("A base from the Hugging Face hub", "huggingface_hub", "train")
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled, RepositoryNotFoundError

    try:
        if isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str):
            return
        huggingface_hub.HfApi().model_info(name, timeout=SECONDS)
    except OfflineModeIsEnabled:
        raise NotFoundError(
            f"The model '{name}' is neither on this machine nor in the hub's cache, and the hub is off (HF_HUB_OFFLINE). "
            "Enter a folder with its files instead: stillhouse models add FOLDER --name NAME"
        ) from None
    except (RepositoryNotFoundError, HFValidationError) as exc:
        raise NotFoundError(f"The hub has no model '{name}'.") from exc
    except Exception as exc:  # no network: the library's HTTP client raises errors of its own
        raise NotFoundError(
            f"The model '{name}' is not on this machine, and the hub cannot be asked for it: {type(exc).__name__}. "
            "Enter a folder with its files instead: stillhouse models add FOLDER --name NAME"
        ) from exc


def fetch(name: str) -> Path:
    """The model's folder in the hub's cache, its files fetched as far as they are not there. Raises NotFoundError."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=PATTERNS))
    except Exception as exc:  # no network, no room: the library's HTTP client raises errors of its own
        raise NotFoundError(f"The model '{name}' cannot be fetched from the hub: {exc}.") from exc
