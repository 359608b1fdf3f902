"""Stillhouse: capture a large model's traffic, train a small one on it, put it in the large one's place.

`stillhouse.distill(recipe, train="a.csv", test="b.csv")` is the whole loop from Python. The import alone loads nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillhouse.scripting import distill as distill
    from stillhouse.scripting import load_student as load_student

__version__ = "0.1.0"
__all__ = ["__version__", "distill", "load_student"]

_LAZY = {"distill": "stillhouse.scripting", "load_student": "stillhouse.scripting"}


def __getattr__(name: str) -> Any:
    """The face's names, each imported when it is first used."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'stillhouse' has no attribute '{name}'. It has: {', '.join(__all__)}.")
