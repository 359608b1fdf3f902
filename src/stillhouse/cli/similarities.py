"""Similarities as options: a number from which on two texts count as alike, or `off`."""

from __future__ import annotations

from stillhouse.errors import UsageError


def similarity_of(said: str, option: str) -> float | None:
    """What `option` was given; None for `off`. Raises UsageError."""
    try:
        similarity = None if said == "off" else float(said)
    except ValueError:
        similarity = 0.0
    if similarity is not None and not 0 < similarity <= 1:
        raise UsageError(f"{option} is a similarity, above 0 and at most 1, or off; got '{said}'.")
    return similarity
