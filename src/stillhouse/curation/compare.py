"""Two versions side by side, and one version against its own manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from stillhouse.curation.leaks import NEAR_LEAKS, find_leaks, pairs_shown
from stillhouse.dataset import SPLITS, Dataset, Example
from stillhouse.errors import StillhouseError
from stillhouse.formats.examples import fingerprint_of, read_examples
from stillhouse.prompts import prompt_hash
from stillhouse.records import Record


class Change(Record):
    """One prompt whose answer is another one now."""

    group: str
    before: str
    after: str


class Diff(Record):
    """What the second version has that the first has not, and the other way round."""

    added: tuple[str, ...] = ()
    """Ids of examples."""
    removed: tuple[str, ...] = ()
    changed: tuple[Change, ...] = ()
    """Prompts with one answer in each version, and not the same; they are not listed as added and removed too."""
    moved: tuple[str, ...] = ()
    """Ids of examples that stand in another split."""
    same: int = 0


def diff(before: Sequence[Example], after: Sequence[Example]) -> Diff:
    """What changed from `before` to `after`."""
    old, new = {example.id: example for example in before}, {example.id: example for example in after}
    gone, come = old.keys() - new.keys(), new.keys() - old.keys()
    old_answer = _only_answers(old[identifier] for identifier in gone)
    new_answer = _only_answers(new[identifier] for identifier in come)
    changed = sorted(old_answer.keys() & new_answer.keys())
    edited = {old_answer[group].id for group in changed} | {new_answer[group].id for group in changed}
    shared = old.keys() & new.keys()
    return Diff(
        added=tuple(sorted(come - edited)),
        removed=tuple(sorted(gone - edited)),
        changed=tuple(Change(group=g, before=old_answer[g].answer, after=new_answer[g].answer) for g in changed),
        moved=tuple(sorted(identifier for identifier in shared if old[identifier].split != new[identifier].split)),
        same=sum(old[identifier].split == new[identifier].split for identifier in shared),
    )


def check(dataset: Dataset, folder: Path) -> list[str]:
    """What is wrong with a version on disk, in words; empty when nothing is. Leaks: by the similarity it was made with."""
    try:
        examples = [example for split in SPLITS for example in read_examples(folder, split)]
    except StillhouseError as exc:
        return [str(exc)]
    return [*_wrong_numbers(dataset, examples), *_wrong_rows(examples), *_new_leaks(dataset, examples)]


def _only_answers(examples: Iterable[Example]) -> dict[str, Example]:
    """Group -> its example, for the groups that have one alone."""
    of_group: dict[str, list[Example]] = {}
    for example in examples:
        of_group.setdefault(example.group, []).append(example)
    return {group: rows[0] for group, rows in of_group.items() if len(rows) == 1}


def _wrong_numbers(dataset: Dataset, examples: Sequence[Example]) -> list[str]:
    counts = Counter(example.split for example in examples)
    wrong = [
        f"{split} has {counts[split]} rows, the manifest says {dataset.counts.get(split, 0)}."
        for split in SPLITS
        if counts[split] != dataset.counts.get(split, 0)
    ]
    fingerprint = fingerprint_of(examples)
    if fingerprint != dataset.fingerprint:
        wrong.append(f"The examples' fingerprint is {fingerprint}, the manifest says {dataset.fingerprint}.")
    return wrong


def _wrong_rows(examples: Sequence[Example]) -> list[str]:
    wrong = [f"Example {example.id} has an empty answer." for example in examples if not example.answer.strip()]
    times = Counter(example.id for example in examples)
    wrong += [f"Example {identifier} stands {count} times." for identifier, count in times.items() if count > 1]
    stale = [example.id for example in examples if example.group != prompt_hash(example.messages)]
    return wrong + [f"Example {identifier} has a group that is not its prompt's hash." for identifier in stale]


def _new_leaks(dataset: Dataset, examples: Sequence[Example]) -> list[str]:
    leaks = find_leaks(examples, dataset.recipe.get("near_leaks", NEAR_LEAKS))
    if len(leaks) <= dataset.waived_leaks:
        return []
    return [f"{len(leaks)} pairs stand in two splits, {dataset.waived_leaks} were accepted:\n{pairs_shown(leaks)}"]
