"""Invented names, in pools that share none.

No list of real people's names: the point is that a student meets names it has never seen, and syllables give a hundred
thousand of them. A name's pool is decided by its hash, so it cannot move from one pool to another.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from typing import Literal

Pool = Literal["teach", "learn", "unseen"]
"""teach: what the shipped teacher and base were trained with. learn: for the questions a student is taught with.
unseen: for evaluation alone."""

POOLS: tuple[Pool, ...] = ("teach", "learn", "unseen")
LENGTHS = range(3, 6)
"""Letters in a name."""
DISTINCT = 5_000
"""So many names in a row are all different."""

_ONSETS = (*"bcdfghjklmnprstvwz", "br", "dr", "fl", "gr", "kl", "pl", "sh", "st", "tr")
_VOWELS = tuple("aeiou")
_ENDS: tuple[str, ...] = ("", "", "", *"bcdfghklmnprstvwxyz")
_RUDE = re.compile(
    "coc|cok|cum|cun|dic|dik|fag|fai|fat|fuc|fuk|gai|jap|kil|kok|naz|nig|pak|pis|pus|rap|sex|shit|slu|suc|suk|tit|vag|wog"
)
"""Syllables know no manners."""


def pool_of(name: str) -> Pool:
    """The pool a name belongs to: 8 of 10 are in `teach`."""
    tenth = hashlib.sha256(name.encode()).digest()[0] % 10
    return "learn" if tenth == 8 else "unseen" if tenth == 9 else "teach"


def distinct_names(rng: random.Random, pool: Pool) -> Iterator[str]:
    """Names of one pool, in random order, none twice within a `DISTINCT`; for ever."""
    seen: set[str] = set()
    while True:
        name = _name(rng)
        if name not in seen and len(name) in LENGTHS and pool_of(name) == pool and not _RUDE.search(name.lower()):
            seen.add(name)
            yield name
        if len(seen) == DISTINCT:
            seen.clear()  # or the short names, of which there are few, would be used up first


def _name(rng: random.Random) -> str:
    syllables = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((1, 1, 2))))
    return (syllables + rng.choice(_ENDS)).capitalize()
