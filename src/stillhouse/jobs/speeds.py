"""How many texts a second models answer, side by side in one process: the same texts, batches and threads for each.

For students that give an answer at once (classifiers). What a decoder takes depends on how much it says: `benchmarks/serving.py`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from stillhouse.artifacts import MANIFEST, load_manifest
from stillhouse.chat import Message
from stillhouse.students import STUDENTS
from stillhouse.students.base import Classifier

BATCH = 32
"""Texts asked at once."""
ROUNDS = 5
"""Times each model answers all of them, turn by turn; the median counts."""
TEXTS = 512


def texts_per_second(folders: Mapping[str, Path], chats: Sequence[Sequence[Message]], *, threads: int = 2) -> dict[str, float]:
    """Role -> texts a second, tokenising included, for those of the models that are classifiers.

    The machine should have nothing else to do. Texts come in the order given: random lengths, padded to the longest of a batch.
    """
    students = {role: load_classifier(folder) for role, folder in folders.items()}
    asked = [list(chats[start : start + BATCH]) for start in range(0, min(len(chats), TEXTS), BATCH)]
    classifiers = {role: student for role, student in students.items() if student is not None}
    if not classifiers or not asked:
        return {}
    seconds: dict[str, list[float]] = {role: [] for role in classifiers}
    with threads_of_torch(threads):
        for batch in asked[:2]:
            for student in classifiers.values():
                student.answer(batch)
        for _ in range(ROUNDS):
            for role, student in classifiers.items():
                began = time.perf_counter()
                for batch in asked:
                    student.answer(batch)
                seconds[role].append(time.perf_counter() - began)
    count = sum(map(len, asked))
    return {role: count / statistics.median(taken) for role, taken in seconds.items()}


def load_classifier(folder: Path) -> Classifier | None:
    """The model in `folder`, ready to answer; None where it is no classifier."""
    if not (folder / MANIFEST).is_file():
        return None
    kind = STUDENTS.resolve(load_manifest(folder).kind)
    student: Classifier | None = kind.load(folder) if issubclass(kind, Classifier) else None
    return student


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """`count` threads for torch where it is loaded, and as many as before afterwards."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
