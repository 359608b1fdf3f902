"""The work folder: teachers, made texts, caches and students are made when they are first asked for."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from teaching.progress import say
from teaching.results import Results

from retaining.files import answers, files_of, relabelled
from stillhouse.artifacts import load_manifest
from stillhouse.dataset import Example
from stillhouse.formats.examples import read_examples, write_dataset_folder
from stillhouse.jobs.augmenting import with_augmentation
from stillhouse.jobs.speeds import load_classifier, texts_per_second
from stillhouse.loop import make_dataset
from stillhouse.method import BlackBox
from stillhouse.recipe import DataSource, Recipe, load_recipe
from stillhouse.records import fingerprint
from stillhouse.settings import Settings
from stillhouse.signals import ScoreRows, SignalReader, caches
from stillhouse.students.encoder import EncoderStudent
from stillhouse.training import train
from stillhouse.training.caching import teacher_hash
from stillhouse.workspace import Workspace

ROOT = Path(__file__).parent.parent.parent
THREADS = 2
"""While speeds are measured."""
TEACHER, TINY = "teacher", "tiny"


class Model(NamedTuple):
    """One line of the table."""

    recipe: str
    labels: str | None = None
    """Instead of distillation: cross-entropy on these labels of the same texts."""
    plain: bool = False
    """Begins with the same weights, and its table does not go on reading the teacher: nothing of one is left in its training."""


MODELS = {
    TEACHER: Model("encoder.toml"),
    "linear": Model("linear.toml"),
    TINY: Model("ngrams.toml"),
    "tiny-gold": Model("ngrams.toml", "gold"),
    "tiny-hard": Model("ngrams.toml", "hard"),
    "plain-gold": Model("ngrams.toml", "gold", plain=True),
    "plain-hard": Model("ngrams.toml", "hard", plain=True),
    "four_layers": Model("four_layers.toml"),
    "static": Model("static.toml"),
}


class Comparison(NamedTuple):
    """A model, and the others of which the better one is what it is compared with."""

    model: str
    others: tuple[str, ...]


COMPARISONS = {
    "over_control": Comparison(TINY, ("tiny-gold", "tiny-hard")),
    "over_plain": Comparison(TINY, ("plain-gold", "plain-hard")),
    "over_linear": Comparison("static", ("linear",)),
}
"""The student and itself by the labels alone, its table reading the teacher on, or not; a table of tokens and TF-IDF."""


class Bench:
    """The work folder: datasets, teachers, made texts, caches and students are made when they are first asked for."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self._work, self._options = work.absolute(), options
        self._work.mkdir(parents=True, exist_ok=True)
        self._workspace = Workspace(Settings(data_dir=self._work / "home"))
        self._known = Results(self._work / "results.jsonl")
        self._datasets: dict[str, Any] = {}

    def measured(self, task: str, name: str, seed: int) -> dict[str, Any]:
        """The model's answers to the texts it is tested on, a line of results.jsonl; a teacher stands for each of its seeds."""
        own = self._teacher_of(seed) if name == TEACHER else seed
        key = self._key(task, name, own)
        return {**(self._known.find(key=key) or self._measure(task, name, own, key)), "seed": seed}

    def speeds(self, task: str, names: Sequence[str]) -> dict[str, float]:
        """Model -> texts a second, of the first seed's."""
        tested = read_examples(self._folder(task), "test")
        folders = {name: self._trained(task, name, 0) for name in names}
        return texts_per_second(folders, [example.messages for example in tested], threads=THREADS)

    def close(self) -> None:
        """Give the work folder back."""
        self._workspace.close()

    def _measure(self, task: str, name: str, seed: int, key: str) -> dict[str, Any]:
        began = time.monotonic()
        folder = self._trained(task, name, seed)
        seconds = time.monotonic() - began
        model = load_classifier(folder)
        assert model is not None
        tested = read_examples(self._folder(task), "test")
        right = [answer == example.answer for answer, example in zip(answers(model, tested), tested, strict=True)]
        manifest = load_manifest(folder)
        row = {
            "task": task,
            "model": name,
            "seed": seed,
            "key": key,
            "accuracy": statistics.mean(right),
            "examples": len(right),
            "parameters": manifest.parameters,
            "size_bytes": manifest.size_bytes,
            "seconds": round(seconds, 1),
            "right": "".join("01"[each] for each in right),
        }
        self._known.add(row)
        return row

    def _trained(self, task: str, name: str, seed: int) -> Path:
        """The model's folder; trained, or trained further, where it is not there."""
        wanted, teacher = self._recipe(name, seed), None
        data = self._folder(task)
        if wanted.teacher.recipe is not None:
            teacher = self._trained(task, TEACHER, self._teacher_of(seed))
            wanted = wanted.model_copy(update={"teacher": wanted.teacher.model_copy(update={"model": str(teacher)})})
            data = self._texts(task, name, wanted, teacher)
        folder = train(
            wanted,
            data,
            self._work / "runs" / self._key(task, name, seed),
            report=say(f"{task} {name} {seed}"),
            teacher_folder=teacher,
            base_folder=None if wanted.student.base is None else self._workspace.model_folder(wanted.student.base),
            signals_folder=self._workspace.settings.signals,
        )
        assert folder is not None
        return folder

    def _recipe(self, name: str, seed: int) -> Recipe:
        """As it ships, with this seed, and with its method exchanged where it is a control."""
        model, factor = MODELS[name], self._options.steps_factor
        said = load_recipe(ROOT / "recipes" / model.recipe, self._options.set if model.recipe == MODELS[TINY].recipe else ())
        steps, epochs = said.training.steps, said.training.epochs
        training = {
            "seed": seed,
            "steps": steps and max(1, round(steps * factor)),
            "epochs": epochs and epochs * factor,
        }
        augment = said.data.augment and said.data.augment.model_copy(update={"seed": self._teacher_of(seed)})
        init = said.student.init and said.student.init.model_copy(update={"embeddings": "outputs"} if model.plain else {})
        return said.model_copy(
            update={
                "student": said.student.model_copy(update={"init": init}),
                "training": said.training.model_copy(update=training),
                "data": said.data.model_copy(update={"augment": augment}),
                "method": said.method if model.labels is None else BlackBox(),
            }
        )

    def _key(self, task: str, name: str, seed: int) -> str:
        """Of all that a model is made of: its recipe, its texts, and its teacher's key."""
        recipe = self._recipe(name, seed)
        teacher = None if recipe.teacher.recipe is None else self._key(task, TEACHER, self._teacher_of(seed))
        said = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"recipe": teacher})})
        parts = (said.model_dump_json(), self._dataset(task).fingerprint, str(MODELS[name].labels))
        return f"{task}-{name}-{seed}-{_short(*parts)}"

    def _dataset(self, task: str) -> Any:
        if task not in self._datasets:
            learnt, tested = files_of(Path(self._options.data), task, self._work, dev=self._options.dev, rows=self._options.rows)
            source = DataSource(name=task, train=str(learnt), test=str(tested))
            self._datasets[task] = asyncio.run(make_dataset(self._workspace, source))
        return self._datasets[task]

    def _folder(self, task: str) -> Path:
        return self._workspace.dataset_folder(self._dataset(task).fingerprint)

    def _teacher_of(self, seed: int) -> int:
        """The seed of its teacher, and of the texts that are made for that one's students."""
        different: int = self._options.teachers or self._options.seeds
        return seed % different

    def _texts(self, task: str, name: str, recipe: Recipe, teacher: Path) -> Path:
        """The dataset with the texts that the recipe makes of it."""
        if recipe.data.augment is None:
            return self._folder(task)
        made = with_augmentation(self._workspace, recipe, self._dataset(task), lambda text: print(text, file=sys.stderr))
        folder = self._workspace.dataset_folder(made.fingerprint)
        labels = MODELS[name].labels
        return folder if labels is None else self._relabelled(folder, labels, teacher, task)

    def _relabelled(self, folder: Path, labels: str, teacher: Path, task: str) -> Path:
        target = self._work / f"{labels}-{folder.name}"
        if not target.exists():
            examples = read_examples(folder, "train")
            said = self._said(examples, teacher) if labels == "hard" else None
            write_dataset_folder(target, relabelled(examples, said), name=f"{task}-{labels}")
        return target

    def _said(self, examples: Sequence[Example], teacher: Path) -> dict[str, str]:
        """Example id -> the teacher's label: from the cache that its student learned from, else it is asked."""
        model = load_classifier(teacher)
        assert isinstance(model, EncoderStudent)
        ids = [example.id for example in examples]
        for known in caches(self._workspace.settings.signals):
            if known.key is not None and known.key.teacher == teacher_hash(teacher) and known.key.tier == "logits":
                reader = SignalReader(self._workspace.settings.signals / known.name)
                rows = reader.rows(ids) if reader.entries.keys() >= set(ids) else None
                if isinstance(rows, ScoreRows):
                    return {one: model.row_labels[best] for one, best in zip(ids, rows.scores_NV.argmax(axis=1), strict=True)}
        return dict(zip(ids, answers(model, examples), strict=True))


def _short(*parts: str) -> str:
    return fingerprint(*(part.encode() for part in parts)).removeprefix("sha256:")[:16]
