"""Small runs for the tests: sums of two digits, learnt by a decoder of two layers of 32."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from stillhouse.dataset import Dataset, Example
from stillhouse.files import hash_file
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.method import BlackBox, Method
from stillhouse.recipe import Recipe, Teacher, Training
from stillhouse.students.causal import CausalStudent
from stillhouse.training import Progress, train
from tests.students.tiny import tiny_spec, write_tokenizer

torch.set_num_threads(1)

SHORT: dict[str, Any] = {"steps": 6, "checkpoint_every": 3, "accumulate": 2, "dropout": 0.0}
"""`recipe`'s options for a run that is over soon."""


def sums() -> list[Example]:
    """100 examples: 90 to train on, 10 to watch, of different lengths."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    return [
        Example(
            id=f"sum-{a}-{b}",
            messages=[{"role": "user", "content": f"{a}+{b}" + "?" * (a % 4)}],
            answer=f"{'we add. ' * (b % 3)}The answer is {a + b}.",
            split="valid" if (a + b) % 10 == 3 else "train",
        )
        for a, b in pairs
    ]


def question(text: str, answer: str, identifier: str = "q") -> Example:
    return Example(id=identifier, messages=[{"role": "user", "content": text}], answer=answer)


def write_sums(folder: Path, examples: list[Example] | None = None, **lineage: Any) -> Dataset:
    return write_dataset_folder(folder, sums() if examples is None else examples, name="sums", **lineage)


def recipe(root: Path, *, method: Method | None = None, teacher: Teacher | None = None, **training: Any) -> Recipe:
    """A run of 12 steps with everything on that makes resuming hard: dropout, accumulation, a partial last window."""
    tokenizer = root / "tokenizer"
    if not tokenizer.exists():
        write_tokenizer(tokenizer)
    options = {
        "steps": 12,
        "batch_size": 8,
        "accumulate": 3,
        "dropout": 0.2,
        "learning_rate": 3e-3,
        "checkpoint_every": 5,
        "evaluate_every": 4,
        "threads": 1,
        **training,
    }
    return Recipe(
        name="sums",
        student=tiny_spec(tokenizer),
        method=method or BlackBox(),
        teacher=teacher or Teacher(),
        training=Training(**options),
    )


class Log:
    """What a run reported: step -> its metrics, speed left out because it differs from run to run."""

    def __init__(self, listener: Callable[[Progress], None] | None = None) -> None:
        self.curve: dict[int, dict[str, float]] = {}
        self.messages: list[str] = []
        self._listener = listener

    def __call__(self, progress: Progress) -> None:
        if progress.metrics:
            self.curve[progress.step] = {k: v for k, v in progress.metrics.items() if not k.startswith("perf/")}
        if progress.message:
            self.messages.append(progress.message)
        if self._listener is not None:
            self._listener(progress)


def run(recipe: Recipe, data: Path, work: Path, *, stop_at: int | None = None, **folders: Any) -> Log:
    """Train, or go on training, until the end or until `stop_at` steps are done."""
    seen = {"step": 0}
    log = Log(lambda progress: seen.update(step=progress.step))
    train(recipe, data, work, report=log, should_stop=lambda: seen["step"] == stop_at, **folders)
    return log


def weights_hash(work: Path) -> str:
    return hash_file(work / "student" / "model.safetensors")


def check_resume(plan: Recipe, data: Path, work: Path, *, stop_at: int = 4, **folders: Any) -> Log:
    """Stopped in the middle and taken up again, a run ends with the curve and the weights of one in one go, whose log this is."""
    whole = run(plan, data, work / "whole", **folders)
    first = run(plan, data, work / "parts", stop_at=stop_at, **folders)
    second = run(plan, data, work / "parts", **folders)
    assert {**first.curve, **second.curve} == whole.curve
    assert weights_hash(work / "parts") == weights_hash(work / "whole")
    return whole


def teacher_folder(root: Path, seed: int = 7, *, letters: str = string.printable) -> Path:
    """A decoder wider than the students, with random weights and a tokenizer of `letters`; theirs has the same, unless told."""
    folder = root / f"teacher-{seed}"
    tokenizer = write_tokenizer(root / "teacher-tokenizer", letters=letters)
    CausalStudent.build(tiny_spec(tokenizer, hidden_size=48), seed=seed).save(folder)
    return folder
