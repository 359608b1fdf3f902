"""Does learning from failures help? A first student, the next one from its failures' like, and one from as many rows at random.

`python benchmarks/iterate.py` on Banking77 (../shared/data, skipped without it): 1,500 labelled questions are a teacher's stored
answers, 40 % of them are kept for the test; 4,500 more are the pool. Every step is a command of the command line, in a
temporary data folder. Prints one JSON object. The failures come from the test split itself, so the second figure flatters: what
it shows is that the choice finds the right rows, not what another test would say.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCE = ROOT.parent / "shared" / "data" / "banking77" / "train.csv"
RECIPE = ROOT / "recipes" / "linear.toml"
FIRST, POOL, LIKE = 1500, 4500, 3
RUN = "import sys; from stillhouse.cli.main import main; main(sys.argv[1:])"


def stillhouse(folder: Path, *arguments: str) -> Any:
    """The JSON a command prints."""
    command = [sys.executable, "-c", RUN, "--data-dir", str(folder / "data"), "--quiet", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_rows(path: Path, rows: list[dict[str, str]], model: str = "teacher") -> str:
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            messages = [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["category"]}]
            file.write(json.dumps({"messages": messages, "model": model, "created": 1_700_000_000 + number}) + "\n")
    return str(path)


def student_of(folder: Path, dataset: dict[str, Any]) -> dict[str, Any]:
    """Train and evaluate on exactly this version; its report."""
    report: dict[str, Any] = stillhouse(folder, "distill", str(RECIPE), "--dataset", version(dataset))["report"]
    return report


def version(dataset: dict[str, Any]) -> str:
    return f"{dataset['name']}@{dataset['fingerprint'].removeprefix('sha256:')[:16]}"


def line(dataset: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
    return {"train": dataset["counts"]["train"], "test": report["examples"], **report["results"][0]["accuracy"]["exact"]}


def main() -> None:
    if not SOURCE.exists():
        print(json.dumps({"skipped": "../shared/data/banking77 is not here"}))
        return
    with SOURCE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    random.Random(0).shuffle(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stillhouse(folder, "import", "jsonl", write_rows(folder / "first.jsonl", rows[:FIRST]))
        first = stillhouse(folder, "dataset", "build", "bank", "--split", "0.6,0,0.4", "--near-duplicates", "off")
        before = student_of(folder, first)
        stillhouse(folder, "import", "jsonl", write_rows(folder / "pool.jsonl", rows[FIRST : FIRST + POOL]))
        chosen = stillhouse(folder, "dataset", "build", "--from-report", before["id"], "--like", str(LIKE))
        after = student_of(folder, chosen)
        added = chosen["counts"]["train"] - first["counts"]["train"]
        # As many of the pool by chance, told from the others by their model's name.
        drawn = write_rows(folder / "drawn.jsonl", rows[FIRST : FIRST + added], model="control")
        stillhouse(folder, "import", "jsonl", drawn)
        control = stillhouse(folder, "dataset", "build", "--extend", version(first), "--model", "control")
        by_chance = student_of(folder, control)
        compared = stillhouse(folder, "eval", "compare", before["id"], after["id"])
    print(
        json.dumps(
            {
                "first": line(first, before),
                "from its failures": line(chosen, after),
                "as many by chance": line(control, by_chance),
                "first to second": compared,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
