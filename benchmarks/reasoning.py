"""D rationales a question against the answer alone: coin flip and last letters, from the demo's teacher to a small student.

    nice python benchmarks/reasoning.py [--questions 100] [--tests 200] [--steps 700] [--seeds 3] [--work work-reasoning] [--json]
    nice python benchmarks/reasoning.py --layers 1,2,4 --d 0,4          # the same by size of the student: sizes.jsonl
    nice python benchmarks/reasoning.py --heat 1.5 --samples 32 --choose different --d 1,4,8 --work work-hot

The whole path, by the verbs that the command line calls: questions about names that the teacher was not trained with, eight
sampled rationales each (`cot generate`), those that come to the right answer (`cot import`, the first D of them), a student from
`builtin:base` by the ordinary trainer, and greedy answers to questions about names of a third pool, graded by the task's type of
answers. The answer-only student has the same questions, base, steps and batches, and learns the final answers; few-shot is base
and teacher, untrained, after three worked examples. What is done already lies in the work folder: a run that was cut off goes
on, and a second call only prints. `stillhouse cot report WORK/measures.jsonl --svg FILE` makes the table with intervals and the
plot.

Students of several sizes begin with bases of as many layers, each made of `builtin:base`'s two (each once, one alone, or each
twice) and trained for 200 further steps on its language, so that the one that lost a layer or got two speaks, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rationales.answers import answers_of, few_shot, majority, voted
from rationales.bench import BASE, TEACHER, Bench, kept
from rationales.questions import GENERATORS, explain, version
from rationales.students import base_of, trained
from rationales.summary import measure, table

from stillhouse.curation.rationales.choosing import CHOICES

RATIONALES = (1, 2, 4, 8)


def main() -> int:
    """Do what is missing, print the table."""
    options = _options()
    import torch

    torch.set_num_threads(1)
    work = Path(options.work)
    rows = []
    for key in options.tasks.split(","):
        bench = Bench(work, key, options)
        asyncio.run(explain(bench))
        rows += list(_sizes(bench) if options.layers else _runs(bench))
    lines = "".join(json.dumps(measure(row)) + "\n" for row in rows)
    (work / ("sizes.jsonl" if options.layers else "measures.jsonl")).write_text(lines, encoding="utf-8")
    print(lines if options.json else table(rows))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(GENERATORS))
    parser.add_argument("--questions", type=int, default=100, help="to learn from, a task")
    parser.add_argument("--tests", type=int, default=200, help="questions a task")
    parser.add_argument("--choose", choices=CHOICES, default="first", help="which D of the right rationales")
    parser.add_argument("--d", default=",".join(map(str, (0, *RATIONALES))), help="rationales a question; 0: the answer alone")
    parser.add_argument("--samples", type=int, default=max(RATIONALES), help="rationales the teacher is asked for")
    parser.add_argument("--heat", type=float, default=1.0, help="the teacher's temperature")
    parser.add_argument("--layers", default="", help="students of so many layers each, e.g. 1,2,4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--work", default="work-reasoning")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _runs(bench: Bench) -> Iterator[dict[str, Any]]:
    """Teacher, base and the most frequent answer; by seed the answer-only student, one for each D, the last by votes, too."""
    first, _ = version(bench, 1)
    for role, model in (("teacher", TEACHER), ("base", BASE)):
        yield kept(bench.folder / f"{role}.json", partial(answers_of, bench, first, model, role=role))
    for role, model in (("teacher", TEACHER), ("base", BASE)):
        yield kept(bench.folder / f"few-shot-{role}.json", partial(few_shot, bench, model))
    yield majority(bench)
    most = max(RATIONALES)
    for seed in range(bench.options.seeds):
        for d in map(int, bench.options.d.split(",")):
            yield kept(bench.runs / f"d{d}-seed{seed}" / "measure.json", partial(_student, bench, d, seed))
        last = bench.runs / f"d{most}-seed{seed}"
        if (last / "student").exists():
            yield kept(last / "voted.json", partial(voted, bench, first, last / "student", most, seed))


def _student(bench: Bench, d: int, seed: int) -> dict[str, Any]:
    """A student of D rationales a question, and how different those are."""
    dataset, different = version(bench, d or 1, bench.options.choose)
    figures = trained(bench, dataset, bench.runs / f"d{d}-seed{seed}", d, seed)
    return {**figures, **({"diversity": different} if d else {})}


def _sizes(bench: Bench) -> Iterator[dict[str, Any]]:
    """By layers, D and seed one student each."""
    for layers in map(int, bench.options.layers.split(",")):
        base = base_of(bench.work, layers)
        for d in map(int, bench.options.d.split(",")):
            dataset, _ = version(bench, d or 1, bench.options.choose)
            for seed in range(bench.options.seeds):
                place = bench.runs / f"layers{layers}-d{d}-seed{seed}"
                yield kept(place / "measure.json", partial(trained, bench, dataset, place, d, seed, base))


if __name__ == "__main__":
    sys.exit(main())
