"""Kinds by name: `"forward_kl" -> "stillhouse.losses.forward_kl:ForwardKL"`, resolved on use.

The tables are strings, so listing the kinds imports none of them, and torch stays out until a loss is really needed. A third
party adds to a table through an entry point of the group `stillhouse.<table>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from stillhouse.errors import MissingExtraError, UsageError

EXTRA_OF = {
    **dict.fromkeys(("torch", "transformers", "safetensors", "tokenizers", "peft"), "train"),
    **dict.fromkeys(("sklearn", "skops"), "classic"),
    "bitsandbytes": "qlora",
}


class Table:
    """One folder's kinds. `noun` is used in messages: "There is no grader 'x'"."""

    def __init__(self, noun: str, group: str, kinds: Mapping[str, str]) -> None:
        self.noun = noun
        self.group = f"stillhouse.{group}"
        self._builtin = dict(kinds)

    def names(self) -> list[str]:
        """Every kind, without importing any."""
        return sorted({*self._builtin, *(point.name for point in entry_points(group=self.group))})

    def resolve(self, name: str) -> Any:
        """The object behind `name`, or behind `module:attribute`. Raises UsageError, MissingExtraError."""
        target = self._target(name)
        module_name, _, attribute = target.partition(":")
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as exc:
            missing = (exc.name or "").partition(".")[0]
            if missing in EXTRA_OF:
                raise MissingExtraError(f"The {self.noun} '{name}'", missing, EXTRA_OF[missing]) from exc
            raise
        return getattr(module, attribute)

    def _target(self, name: str) -> str:
        if name in self._builtin:
            return self._builtin[name]
        for point in entry_points(group=self.group):
            if point.name == name:
                return point.value
        raise UsageError(f"There is no {self.noun} '{name}'. There are: {', '.join(self.names())}.")
