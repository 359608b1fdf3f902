"""Students, trained: from the base that ships or one of as many layers as wanted, on D rationales or the answer alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from rationales.answers import answers_of
from rationales.bench import BASE, Bench, say
from stillhouse.dataset import Dataset, Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.method import BlackBox
from stillhouse.recipe import Initialisation, Recipe, Student, Training
from stillhouse.settings import Settings
from stillhouse.training import train
from stillhouse.workspace import Workspace

HEALING = 200
"""Steps of 48 exchanges."""


def trained(bench: Bench, dataset: Dataset, place: Path, d: int, seed: int, base: Path | None = None) -> dict[str, Any]:
    """A student of `base`, of the shipped one where none is named, and its answers."""
    options = bench.options
    recipe = Recipe(
        name=f"{bench.key}-d{d}-{seed}",
        student=Student(kind="causal", base=str(base or BASE)),
        method=BlackBox(rationale=d > 0),
        training=Training(
            steps=options.steps,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            seed=seed,
            threads=1,
            checkpoint_every=250,
            evaluate_every=10**6,
        ),
    )
    with bench.workspace() as workspace:
        data = workspace.dataset_folder(dataset.fingerprint)
        base = base or workspace.model_folder(BASE)
    began = time.process_time()
    told = say(recipe.name)
    student = train(recipe, data, place, base_folder=base, report=lambda progress: told(progress.step, progress.steps))
    assert student is not None
    seconds = time.process_time() - began
    role = "student" if d else "answer-only"
    rows = dataset.counts["train"]
    return {**answers_of(bench, dataset, str(student), role=role), "d": d or None, "seed": seed, "rows": rows, "cpu": seconds}


def base_of(work: Path, layers: int) -> Path:
    """`builtin:base` with `layers` layers, each a copy of one of its two, trained on: the folder of its weights."""
    place = work / f"base-{layers}"
    data = place / "data"
    if not data.exists():
        write_dataset_folder(data, _language(48 * HEALING), name="base-language")
    copied = tuple(2 * layer // layers for layer in range(layers))
    recipe = Recipe(
        name=f"base-{layers}",
        student=Student(kind="causal", init=Initialisation(layers=copied), config={"num_hidden_layers": layers}),
        training=Training(
            steps=HEALING, batch_size=48, learning_rate=2e-3, threads=1, checkpoint_every=200, evaluate_every=10**6
        ),
    )
    workspace = Workspace(Settings(data_dir=place / "workspace"))
    teacher = workspace.model_folder(BASE)
    workspace.close()
    told = say(recipe.name)
    made = train(recipe, data, place, teacher_folder=teacher, report=lambda progress: told(progress.step, progress.steps))
    assert made is not None
    return made


def _language(count: int) -> list[Example]:
    """What the base was made of."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    from base_language import exchanges

    return [
        Example(id=f"{number}", messages=[{"role": "user", "content": asked}], answer=answer, split="train")
        for number, (asked, answer) in enumerate(exchanges(count))
    ]
