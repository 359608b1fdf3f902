"""What the graders that compare texts share: what to compare with, and how a verdict is written down.

The protocol itself lives beside its record, in `stillhouse.grade`.
"""

from __future__ import annotations

from stillhouse.dataset import Example
from stillhouse.grade import Grade

SHOWN = 80
"""Characters of a text that a reason quotes."""


def expected(example: Example) -> str:
    """What the answer is compared with: the reference where somebody knows it, or else the example's own answer."""
    return example.answer if example.reference is None else example.reference


def verdict(passed: bool, want: str, got: str) -> Grade:
    """1 or 0, and what stood where something else was wanted."""
    reason = "" if passed else f"expected {_shown(want)}, got {_shown(got)}"
    return Grade(score=1.0 if passed else 0.0, passed=passed, reason=reason)


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
