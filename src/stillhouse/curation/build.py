"""The steps in order: collected examples -> without duplicates -> split -> checked for leaks -> a version on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stillhouse.curation.collect import Collected
from stillhouse.curation.duplicates import without_duplicates
from stillhouse.curation.leaks import NEAR_LEAKS, Leak, LeakError, find_leaks, leaking_pairs
from stillhouse.curation.splits import split_examples
from stillhouse.dataset import SPLITS, Dataset, Example
from stillhouse.errors import ConflictError, UsageError
from stillhouse.formats.examples import fingerprint_of, write_dataset_folder
from stillhouse.records import Record
from stillhouse.stores.base import Store

QUARANTINE_KEPT = 1000
"""Rows put aside that the manifest names one by one; all are counted."""
LEAK = "leak: asked in a later split too"


class Options(Record):
    """How a version is made."""

    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Of train, valid, test; unused where files give the splits."""
    seed: int = 0
    near_duplicates: float | None = Field(default=0.9, gt=0, le=1)
    """Similarity from which rows are removed as near-duplicates. None: only exact ones are."""
    near_leaks: float | None = Field(default=NEAR_LEAKS, gt=0, le=1)
    """Similarity from which two prompts must not stand on different sides. None: only equal ones must not."""
    leaks: Literal["fail", "drop"] = "fail"
    """What happens when the leak check finds pairs: an error, or the rows of the earlier split go, so that test stays whole."""
    allow_leaks: int = Field(default=0, ge=0)
    """Up to so many pairs are accepted, and written down in the manifest."""


@dataclass
class Version:
    """A dataset that is decided but not written."""

    name: str
    examples: list[Example]
    """In their final order: by split, then by id, so that equal content has one fingerprint however it came in."""
    removed: Counter[str]
    leaks: list[Leak] = field(default_factory=list)
    """Accepted ones."""
    parents: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    teachers: dict[str, int] = field(default_factory=dict)
    may_train: dict[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.examples)


def build(name: str, collected: Collected, options: Options | None = None, *, recipe: dict[str, Any] | None = None) -> Version:
    """A version of the collected examples; `recipe` is what else the manifest should say (the filters).

    Raises UsageError when nothing is left, LeakError when the leak check fails.
    """
    options = options or Options()
    examples, removed = without_duplicates(collected.examples, options.near_duplicates)
    removed += collected.removed
    if not examples:
        raise UsageError(f"No example is left for the dataset '{name}'. Left out: {reasons(removed)}.")
    if not collected.given_splits:
        examples = split_examples(examples, options.shares, options.seed, options.near_leaks)
    examples, leaks, dropped = _without_leaks(examples, options)
    removed[LEAK] += dropped
    return Version(
        name=name,
        examples=in_order(examples),
        removed=+removed,
        leaks=leaks,
        recipe={**(recipe or {}), **options.model_dump(mode="json"), **quarantine_list(collected)},
        teachers=teachers_of(examples, collected),
        may_train=terms_of(examples, collected),
    )


def save(version: Version, folder: Callable[[str], Path], store: Store) -> Dataset:
    """Write the version's folder and enter it in the store; a version that is there already is returned as it is.

    Raises ConflictError when the same content is there under another name: a fingerprint has one.
    """
    fingerprint = version.fingerprint
    known = store.dataset(fingerprint)
    if known is not None and known.name != version.name:
        raise ConflictError(f"These very examples are the dataset '{known.name}' already ({fingerprint[:19]}). Use that name.")
    dataset = write_dataset_folder(
        folder(fingerprint),
        version.examples,
        name=version.name,
        parents=version.parents,
        recipe=version.recipe,
        removed=dict(version.removed),
        teachers=version.teachers,
        may_train=version.may_train,
        waived_leaks=len(version.leaks),
    )
    if known is None:
        store.put_dataset(dataset).result()
    return known or dataset


def in_order(examples: Sequence[Example]) -> list[Example]:
    """By split, then by id."""
    return sorted(examples, key=lambda example: (SPLITS.index(example.split), example.id))


def reasons(removed: Counter[str]) -> str:
    """`12 exact duplicate, 3 quarantined`, the most frequent first."""
    return ", ".join(f"{count} {reason}" for reason, count in removed.most_common() if count) or "nothing"


def teachers_of(examples: Sequence[Example], collected: Collected) -> dict[str, int]:
    """Model -> rows of `examples` that it answered."""
    return dict(Counter(collected.teacher_of[source] for e in examples if (source := e.source or "") in collected.teacher_of))


def terms_of(examples: Sequence[Example], collected: Collected) -> dict[str, str]:
    """What `collected` says of upstreams' terms, without those whose answers were all left out on the way to `examples`."""
    there = {collected.upstream_of.get(example.source or "") for example in examples}
    gone = set(collected.upstream_of.values()) - there
    return {upstream: terms for upstream, terms in collected.may_train.items() if upstream not in gone}


def quarantine_list(collected: Collected) -> dict[str, Any]:
    """The rows put aside, as the manifest keeps them: file, line, reason."""
    rows = [{"file": file, "line": row.line, "reason": row.reason} for file, row in collected.quarantined[:QUARANTINE_KEPT]]
    return {"quarantined": rows} if rows else {}


def _without_leaks(examples: list[Example], options: Options) -> tuple[list[Example], list[Leak], int]:
    """The examples that may stay, the leaks accepted, and how many rows went."""
    if options.leaks == "drop":
        leaking = {(seen.split, seen.id) for seen, _, _ in leaking_pairs(examples, options.near_leaks)}
        kept = [example for example in examples if (example.split, example.id) not in leaking]
        return kept, [], len(examples) - len(kept)
    leaks = find_leaks(examples, options.near_leaks)
    if len(leaks) > options.allow_leaks:
        raise LeakError(leaks, options.allow_leaks)
    return examples, leaks, 0
