"""Does it matter which texts are labelled? Active learning on Banking77, its labels hidden: who needs fewest for an accuracy.

`python benchmarks/choosing.py` (../shared/data, skipped without it) simulates it: 500 texts of the train file are labelled, drawn
by chance and the same for every selector of a seed; a linear student learns from them; a selector picks 500 more of the rest,
whose labels are looked up; and so on up to 3,000. Three seeds; accuracy on the test file, which no selector sees. Every point is
said on stderr as it is there, and one JSON object at the end. `--by margin --seeds 1` for a part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.curation.collect import example_of
from stillhouse.curation.selecting import Wanted, select
from stillhouse.dataset import Example
from stillhouse.evaluation.intervals import share
from stillhouse.formats.base import Row
from stillhouse.selectors.base import Opinion, Token
from stillhouse.students.base import last_user_text
from stillhouse.students.linear import LinearStudent

SOURCE = Path(__file__).parent.parent.parent / "shared" / "data" / "banking77"
FIRST, STEP, LAST = 500, 500, 3000
SELECTORS = ("random", "least_confidence", "margin", "entropy", "k_means", "k_center", "margin+k_means")


def rows(name: str) -> list[Example]:
    with (SOURCE / name).open(encoding="utf-8") as file:
        read = [(row["text"], row["category"]) for row in csv.DictReader(file)]
    chats = [
        Row(line=line, messages=[{"role": "user", "content": text}], answer=label) for line, (text, label) in enumerate(read)
    ]
    return list({example.group: example for example in (example_of(row, source=f"{name}:{row.line}") for row in chats)}.values())


def student_of(examples: Sequence[Example]) -> LinearStudent:
    return LinearStudent.fit([last_user_text(each.messages) for each in examples], [each.answer for each in examples], {})


def opinion(probabilities: dict[str, float]) -> Opinion:
    ranked = sorted(probabilities.values(), reverse=True)[:20]
    return Opinion(max(probabilities, key=probabilities.__getitem__), (Token(ranked[0], tuple(ranked)),))


async def curve(by: str, pool: list[Example], test: list[Example], seed: int) -> list[dict[str, Any]]:
    """Accuracy at 500, 1,000, ... texts."""
    labelled = random.Random(seed).sample(pool, FIRST)
    points = []
    while True:
        student = student_of(labelled)
        said = student.answer([each.messages for each in test])
        right = sum(answer == each.answer for answer, each in zip(said, test, strict=True))
        points.append({"n": len(labelled), "labels": len(set(student.labels)), "right": right, "of": len(test)})
        print(f"{by} seed {seed}: {len(labelled)} texts {right / len(test):.4f}", file=sys.stderr, flush=True)
        if len(labelled) >= LAST:
            return points
        known = {each.id for each in labelled}

        async def ask(examples: Sequence[Example], asked: LinearStudent = student) -> list[Opinion | None]:
            return [opinion(row) for row in asked.probabilities([each.messages for each in examples])]

        wanted = Wanted(by=by, n=STEP, seed=seed, near=None)
        rest = [each for each in pool if each.id not in known]
        chosen = {each.id for each in (await select(wanted, rest, labelled=labelled, ask=ask)).chosen}
        labelled = [*labelled, *(each for each in pool if each.id in chosen)]


def summary(of_seeds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Over seeds: the mean accuracy and each one's, the first one's interval, how many labels had been seen."""
    found = []
    for points in zip(*of_seeds, strict=True):
        values = [point["right"] / point["of"] for point in points]
        alone = share(points[0]["right"], points[0]["of"])
        found.append(
            {
                "n": points[0]["n"],
                "accuracy": statistics.mean(values),
                "seeds": values,
                "first_seeds_interval": [alone.low, alone.high],
                "labels": statistics.mean(point["labels"] for point in points),
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", nargs="*", default=list(SELECTORS))
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if not SOURCE.exists():
        print(json.dumps({"skipped": "../shared/data/banking77 is not here"}))
        return
    pool, test = rows("train.csv"), rows("test.csv")
    asked = {each.group for each in test}
    pool = [each for each in pool if each.group not in asked]
    results = {}
    for by in given.by:
        results[by] = summary([asyncio.run(curve(by, pool, test, seed)) for seed in range(given.seeds)])
        line = "  ".join(f"{point['n']}: {point['accuracy']:.1%}" for point in results[by])
        print(f"{by:20} {line}", file=sys.stderr, flush=True)
    everything = student_of(pool).answer([each.messages for each in test])
    right = sum(answer == each.answer for answer, each in zip(everything, test, strict=True))
    print(json.dumps({"selectors": results, "all": {"n": len(pool), "accuracy": right / len(test)}}, indent=2))


if __name__ == "__main__":
    main()
