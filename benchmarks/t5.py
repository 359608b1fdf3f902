"""T5 teacher -> smaller T5: cross-entropy on the teacher's text against forward KL + cross-entropy at a temperature, equal steps.

    python benchmarks/t5.py [--sizes 32,64] [--seeds 3] [--steps 800] [--teacher-steps 2500] [--work work-t5] [--json]

A T5 is trained from scratch on coins that people flip or leave (stillhouse.tasks), in pieces of its own. It answers questions
about names it never saw, one sampled rationale each; students of several widths learn from these, by recipes/t5.toml and by the
same recipe with text alone. Measured on questions about a third pool of names: the divergence from the teacher (nats a token of
its text), how often the final answer of the likeliest text is right. What is done already lies in the work folder: a run that was
cut off goes on, and a second call only prints.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teaching.progress import say
from teaching.tokenizer import write_tokenizer

from stillhouse.answers import final_answer
from stillhouse.artifacts import load_manifest
from stillhouse.dataset import Example
from stillhouse.formats.examples import read_examples, write_dataset_folder
from stillhouse.generation import Generation
from stillhouse.recipe import load_recipe
from stillhouse.students import STUDENTS  # before torch, so that its threads wait asleep
from stillhouse.students.engines import ENGINES
from stillhouse.tasks import TASKS
from stillhouse.training import train

RECIPE = Path(__file__).parent.parent / "recipes" / "t5.toml"
TEACHER_WIDTH = 128
PIECES = 512
METHODS: dict[str, tuple[str, ...]] = {
    "cross-entropy": ('method={"kind"="black-box"}',),
    "forward KL + cross-entropy": (),
    "forward KL + cross-entropy, T = 1": ("method.temperature=1.0",),
}


def main() -> int:
    """Train what is missing, print the table."""
    options = _options()
    import torch

    torch.set_num_threads(options.threads)
    work = Path(options.work)
    gold = _gold(work / "gold", options.teacher_examples)
    tokenizer = _tokenizer(work / "tokenizer", gold)
    teacher = _train("teacher", work / f"teacher-{options.teacher_steps}", gold, _teacher_changes(options), tokenizer, options)
    taught = _taught(work / f"taught-{options.teacher_steps}-{options.examples}", teacher, options)
    rows = [{"student": "teacher", "seed": 0, **_figures(teacher, teacher, taught)}]
    for width in map(int, options.sizes.split(",")):
        for name in METHODS:
            rows += [_trial(name, width, seed, work, taught, teacher, tokenizer, options) for seed in range(options.seeds)]
    summary = _summary(rows)
    print(json.dumps(summary) if options.json else _table(summary))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="32,64", help="widths of the students")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--examples", type=int, default=2000, help="that the teacher answers for the students")
    parser.add_argument("--teacher-steps", type=int, default=2500)
    parser.add_argument("--teacher-examples", type=int, default=10_000)
    parser.add_argument("--work", default="work-t5")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


# -- what is learnt from ----------------------------------------------------------------------------------------------------


def _tokenizer(folder: Path, gold: Path) -> Path:
    if folder.exists():
        return folder
    texts = [f"{example.messages[-1]['content']} {example.answer}" for example in read_examples(gold, "train")]
    return write_tokenizer(folder, texts, PIECES, {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"})


def _questions(pool: str, count: int, split: Any) -> list[Example]:
    """With one of the gold rationales as the answer, in turn."""
    questions = TASKS.resolve("coin_flip")(count, 1, pool)
    return [
        Example(
            id=f"{pool}-{i}",
            messages=[{"role": "user", "content": question.text}],
            answer=question.rationales[i % len(question.rationales)],
            reference=question.answer,
            split=split,
        )
        for i, question in enumerate(questions)
    ]


def _gold(folder: Path, count: int) -> Path:
    if not folder.exists():
        write_dataset_folder(folder, _questions("teach", count, "train"), name="gold")
    return folder


def _taught(folder: Path, teacher: Path, options: argparse.Namespace) -> Path:
    """Other questions, with what the teacher says to them: the students' data."""
    if not folder.exists():
        asked = [*_questions("learn", options.examples, "train"), *_questions("unseen", 200, "test")]
        answers = _answers(teacher, asked, temperature=1.0)
        said = [example.model_copy(update={"answer": answer}) for example, answer in zip(asked, answers, strict=True) if answer]
        write_dataset_folder(folder, said, name="taught")
    return folder


def _answers(folder: Path, examples: Sequence[Example], *, temperature: float) -> list[str]:
    """One answer to each, by the engine that serves."""
    kind = load_manifest(folder).kind
    engine = ENGINES.resolve(kind)(STUDENTS.resolve(kind).load(folder), batch=64)
    for ticket, example in enumerate(examples):
        engine.submit(ticket, Generation(messages=tuple(example.messages), max_tokens=160, temperature=temperature, seed=ticket))
    said = {}
    while engine.busy:
        said.update({piece.ticket: piece.text for piece in engine.step()})
    return [said[ticket] for ticket in range(len(examples))]


# -- training ---------------------------------------------------------------------------------------------------------------


def _teacher_changes(options: argparse.Namespace) -> list[str]:
    steps = f"training.steps={options.teacher_steps}"
    return [*METHODS["cross-entropy"], *_width(TEACHER_WIDTH), steps, "training.learning_rate=2e-3"]


def _width(width: int) -> list[str]:
    sizes = {"d_model": width, "d_ff": 2 * width, "d_kv": width // 4, "num_layers": 2}
    return [f"student.config.{name}={size}" for name, size in sizes.items()]


def _train(
    name: str,
    work: Path,
    data: Path,
    changes: Sequence[str],
    tokenizer: Path,
    options: argparse.Namespace,
    teacher: Path | None = None,
) -> Path:
    quiet = ("training.checkpoint_every=1000000", "training.evaluate_every=1000000", f"training.threads={options.threads}")
    recipe = load_recipe(RECIPE, [f"student.tokenizer={json.dumps(str(tokenizer))}", *quiet, *changes])
    folder = train(recipe, data, work, report=say(name), teacher_folder=teacher)
    assert folder is not None
    return folder


def _trial(
    name: str,
    width: int,
    seed: int,
    work: Path,
    taught: Path,
    teacher: Path,
    tokenizer: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    place = work / f"{taught.name}-{options.steps}" / f"{name.replace(' ', '-')}-{width}-{seed}"
    changes = [*METHODS[name], *_width(width), f"training.steps={options.steps}", f"training.seed={seed}"]
    known = place / "figures.json"
    if not known.exists():
        began = time.monotonic()
        folder = _train(f"{name} {width}", place, taught, changes, tokenizer, options, teacher)
        seconds = time.monotonic() - began
        known.write_text(json.dumps({**_figures(folder, teacher, taught), "seconds": seconds}))
    return {"student": f"{width} wide", "method": name, "seed": seed, **json.loads(known.read_text())}


# -- what is measured -------------------------------------------------------------------------------------------------------


def _figures(student: Path, teacher: Path, data: Path) -> dict[str, float]:
    """On the test split: size, nats a token from the teacher, share of right final answers."""
    examples = read_examples(data, "test")
    answers = _answers(student, examples, temperature=0.0)
    right = sum(final_answer(answer) == example.reference for answer, example in zip(answers, examples, strict=True))
    return {
        "parameters": load_manifest(student).parameters,
        "kl": _divergence(student, teacher, examples),
        "exact_match": right / len(examples),
    }


def _divergence(student_folder: Path, teacher_folder: Path, examples: Sequence[Example]) -> float:
    """KL(teacher || student), a mean over the tokens of what the teacher said."""
    import torch

    student, teacher = (STUDENTS.resolve("seq2seq").load(folder) for folder in (student_folder, teacher_folder))
    rows = sorted(student.encode(examples, max_tokens=10_000), key=lambda row: row.length)
    divergence = tokens = 0.0
    for start in range(0, len(rows), 32):
        batch = student.collate(rows[start : start + 32])
        with torch.inference_mode():
            q_NV, p_NV = (network.output(batch).scores_NV.float().log_softmax(-1) for network in (student, teacher))
        divergence += float((p_NV.exp() * (p_NV - q_NV)).sum())
        tokens += len(batch.targets_N)
    return divergence / tokens


def _summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds, and the spread of the divergence."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["student"], row.get("method", "gold text")), []).append(row)
    return [
        {
            "student": student,
            "method": method,
            "seeds": len(mine),
            **{name: statistics.mean(row[name] for row in mine) for name in ("parameters", "kl", "exact_match")},
            "kl_spread": statistics.stdev(row["kl"] for row in mine) if len(mine) > 1 else None,
            "seconds": statistics.mean(row.get("seconds", 0.0) for row in mine),
        }
        for (student, method), mine in groups.items()
    ]


def _table(summary: Sequence[dict[str, Any]]) -> str:
    whole = summary[0]["parameters"]
    lines = [
        "| T5 | learns by | seeds | parameters | x smaller | KL to the teacher | exact match | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in summary:
        spread = "" if row["kl_spread"] is None else f" ± {row['kl_spread']:.4f}"
        sizes = f"{row['parameters']:,.0f} | {whole / row['parameters']:.1f}"
        figures = f"{row['kl']:.4f}{spread} | {row['exact_match']:.1%} | {row['seconds']:.0f}"
        lines.append(f"| {row['student']} | {row['method']} | {row['seeds']} | {sizes} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
