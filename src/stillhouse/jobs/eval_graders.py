"""An eval's testing criteria -> graders: each under a name of its own, judges by their model's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.grade import Grade, Grader
from stillhouse.sample import Item, Sample


class Named:
    """A grader under the name that its criterion gave it."""

    def __init__(self, inner: Grader, name: str) -> None:
        self.name = name
        self._inner = inner

    async def grade(self, item: Item, sample: Sample) -> Grade:
        return await self._inner.grade(item, sample)


def criterion_names(criteria: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the criteria's results are called: their names, those of later namesakes numbered."""
    times: Counter[str] = Counter()
    names = []
    for criterion in criteria:
        name = str(criterion.get("name") or criterion.get("type"))
        times[name] += 1
        names.append(name if times[name] == 1 else f"{name} ({times[name]})")
    return names


def judges_of(criteria: object) -> set[str]:
    """The models that criteria name, those within `multi` included."""
    if isinstance(criteria, Mapping):
        own = {criteria["model"]} if isinstance(criteria.get("model"), str) else set()
        return own.union(*map(judges_of, criteria.values()))
    return set().union(*map(judges_of, criteria)) if isinstance(criteria, list | tuple) else set()
