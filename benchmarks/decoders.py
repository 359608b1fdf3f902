"""Every way of teaching a decoder against cross-entropy on the text alone: the same student, data, order and number of steps.

    python benchmarks/decoders.py [--methods "headline|all|NAME;..."] [--seeds 3] [--work work-decoders] [--json]

A teacher of 4 layers of 256 and students of 2 layers of 128 are trained from scratch on the solutions of GSM8K (../shared/data,
skipped without it), over a vocabulary of 4,000 pieces that is trained on the same text. Measured on held-out solutions, token by
token: the divergence of the student from the teacher (nats), its cross-entropy on the text, how often its likeliest token is the
teacher's. What is done already lies in the work folder: a run that was cut off goes on, and a second call only prints.
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
from teaching.results import Results
from teaching.tokenizer import write_tokenizer

from stillhouse.dataset import Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.recipe import Recipe
from stillhouse.students import STUDENTS  # before torch, so that its threads wait asleep
from stillhouse.training import train

SOURCE = Path(__file__).parent.parent.parent / "shared" / "data" / "gsm8k"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}\n"
PIECES = 4000
TEACHER = {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 8}
STUDENT = {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON = {"model_type": "llama", "max_position_embeddings": 512, "tie_word_embeddings": True}

White = dict[str, Any]
BASELINE = "cross-entropy"
METHODS: dict[str, dict[str, Any]] = {
    BASELINE: {"method": {"kind": "black-box"}},
    "forward KL": {"method": {"loss": "forward_kl"}},
    "reverse KL": {"method": {"loss": "reverse_kl"}},
    "JSD(0.5)": {"method": {"loss": "jensen_shannon", "options": {"beta": 0.5}}},
    "top-k + tail": {"method": {"loss": "top_k", "source": "cache", "cache": {"tier": "top_k", "k": 32}}},
    "sampled": {"method": {"loss": "sampled", "source": "cache", "cache": {"tier": "sampled", "samples": 50}}},
    "total variation": {"method": {"loss": "total_variation"}},
    "skew KL": {"method": {"loss": "skew_kl"}},
    "skew reverse KL": {"method": {"loss": "skew_reverse_kl"}},
    "adaptive KL": {"method": {"loss": "adaptive_kl"}},
    "TAID": {"method": {"loss": "taid"}},
    "symmetric KL": {"method": {"loss": "symmetric_kl"}},
    "temperature 2": {"method": {"loss": "forward_kl", "temperature": 2.0}},
    "temperature 4 to 1": {"method": {"loss": "forward_kl", "temperature": 4.0, "temperature_end": 1.0}},
    "temperature by token": {"method": {"loss": "forward_kl", "temperature": 2.0, "temperature_by": "token"}},
    "half KL, half cross-entropy": {"method": {"loss": "forward_kl", "weight": 0.5}},
    "cache of hidden states": {"method": {"loss": "forward_kl", "source": "cache", "cache": {"tier": "hidden"}}},
    "average teacher (EMA)": {"method": {"source": "ema", "weight": 0.5, "ema_decay": 0.99}},
    "mutual": {"method": {"source": "mutual", "weight": 0.5}},
    "hidden states + KL": {"method": {"features": [{"loss": "hidden_states"}]}},
    "relations + KL": {"method": {"features": [{"loss": "relations", "layers": "last"}]}},
    "features, then KL": {
        "method": {"features": [{"loss": "hidden_states"}]},
        "stages": [
            {"share": 0.3, "method": {"loss": "none", "weight": 1.0}},
            {"share": 0.7, "method": {"features": []}},
        ],
    },
    "curriculum": {"method": {}, "training": {"curriculum": {"by": "length"}}},
    "on-policy, half of the steps": {"method": {"loss": "reverse_kl", "rollouts": {"share": 0.5, "max_tokens": 64, "every": 8}}},
    "policy gradient, half of the steps": {
        "method": {"loss": "reverse_kl", "rollouts": {"share": 0.5, "estimator": "policy-gradient", "max_tokens": 64, "every": 8}}
    },
    "initialised from the teacher": {
        "method": {},
        "student": {"init": {"layers": "uniform"}, "tokenizer": None, "config": STUDENT},
    },
}
HEADLINE = (BASELINE, "forward KL", "reverse KL", "JSD(0.5)", "top-k + tail", "sampled")


def main() -> int:
    """Train what is missing, print the table."""
    options = _options()
    if not SOURCE.exists():
        print(json.dumps({"skipped": "../shared/data/gsm8k is not here"}))
        return 0
    import torch

    torch.set_num_threads(options.threads)
    work = Path(options.work)
    data, tokenizer = _dataset(work, options.examples), _tokenizer(work)
    teacher = _teacher(work, data, tokenizer, options)
    known = Results(work / f"results-{options.steps}-{options.examples}.jsonl")
    names = _names(options.methods)
    for seed in range(options.seeds):
        for name in names:
            if known.find(method=name, seed=seed) is None:
                known.add(_trial(name, seed, work, data, tokenizer, teacher, options))
                print(f"{name}, seed {seed}: {known.rows[-1]}", file=sys.stderr, flush=True)
    summary = _summary([row for row in known.rows if row["method"] in names and row["seed"] < options.seeds])
    print(json.dumps(summary) if options.json else _table(summary))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="headline")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--teacher-epochs", type=float, default=2.0)
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--work", default="work-decoders")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _names(asked: str) -> list[str]:
    return list({"headline": HEADLINE, "all": METHODS}.get(asked, asked.split(";")))


# -- what is learnt from ----------------------------------------------------------------------------------------------------


def _solutions(name: str) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in (SOURCE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(row["question"], row["answer"]) for row in rows]


def _dataset(work: Path, count: int) -> Path:
    folder = work / f"data-{count}"
    if not folder.exists():
        splits: list[tuple[Any, list[tuple[str, str]]]] = [
            ("train", _solutions("train")[:count]),
            ("valid", _solutions("train")[7000:7100]),
            ("test", _solutions("test")[:300]),
        ]
        examples = [
            Example(id=f"{split}-{i}", messages=[{"role": "user", "content": question}], answer=answer, split=split)
            for split, rows in splits
            for i, (question, answer) in enumerate(rows)
        ]
        write_dataset_folder(folder, examples, name="gsm8k")
    return folder


def _tokenizer(work: Path) -> Path:
    folder = work / "tokenizer"
    if folder.exists():
        return folder
    texts = (f"{question}\n{answer}" for question, answer in _solutions("train"))
    return write_tokenizer(folder, texts, PIECES, {"eos_token": "<eos>", "pad_token": "<pad>"}, TEMPLATE)


def _recipe(shape: dict[str, Any], tokenizer: Path, training: dict[str, Any], **parts: Any) -> Recipe:
    content = {
        "name": "decoders",
        "student": {"kind": "causal", "config": {**COMMON, **shape}, "tokenizer": str(tokenizer), **parts.pop("student", {})},
        "training": {
            "batch_size": 16,
            "learning_rate": 2e-3,
            "evaluate_every": 10**6,
            "checkpoint_every": 10**6,
            "max_tokens": 512,
            "precision": "auto",
            **training,
        },
        **parts,
    }
    return Recipe.model_validate(content)


def _teacher(work: Path, data: Path, tokenizer: Path, options: argparse.Namespace) -> Path:
    plan = _recipe(TEACHER, tokenizer, {"epochs": options.teacher_epochs, "learning_rate": 1e-3, "threads": options.threads})
    folder = train(plan, data, work / f"teacher-{options.teacher_epochs:g}-{options.examples}", report=say("teacher"))
    assert folder is not None
    return folder


def _trial(
    name: str, seed: int, work: Path, data: Path, tokenizer: Path, teacher: Path, options: argparse.Namespace
) -> dict[str, Any]:
    parts = json.loads(json.dumps(METHODS[name]))
    method = parts.pop("method", {})
    if method.get("kind") != "black-box":
        method = {"kind": "white-box", "weight": 1.0, **method}
    training = {"steps": options.steps, "seed": seed, "threads": options.threads, **parts.pop("training", {})}
    plan = _recipe(STUDENT, tokenizer, training, method=method, teacher={"model": "teacher"}, **parts)
    began = time.monotonic()
    place = work / f"run-{options.steps}-{options.examples}" / f"{name.replace(' ', '-')}-{seed}"
    folder = train(plan, data, place, report=say(name), teacher_folder=teacher, signals_folder=work / "signals")
    assert folder is not None
    seconds = time.monotonic() - began
    return {"method": name, "seed": seed, **measure(folder, teacher, data), "seconds": round(seconds, 1)}


# -- what is measured -------------------------------------------------------------------------------------------------------


def measure(student_folder: Path, teacher_folder: Path, data: Path) -> dict[str, float]:
    """On the test split, means over supervised tokens: KL(teacher || student), the student's cross-entropy, same first choice."""
    import torch

    from stillhouse.formats.examples import read_examples

    student, teacher = (STUDENTS.resolve("causal").load(folder) for folder in (student_folder, teacher_folder))
    rows = sorted(student.encode(read_examples(data, "test"), max_tokens=512), key=lambda row: row.length)
    divergence = surprise = same = tokens = 0.0
    for start in range(0, len(rows), 16):
        batch = student.collate(rows[start : start + 16])
        with torch.inference_mode():
            q_NV, p_NV = (network.output(batch).scores_NV.float().log_softmax(-1) for network in (student, teacher))
        divergence += float((p_NV.exp() * (p_NV - q_NV)).sum())
        surprise -= float(q_NV.gather(-1, batch.targets_N[:, None]).sum())
        same += float((q_NV.argmax(-1) == p_NV.argmax(-1)).sum())
        tokens += len(batch.targets_N)
    return {"kl": divergence / tokens, "cross_entropy": surprise / tokens, "same": same / tokens}


def _summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each method's means, and the share of the gap between cross-entropy and full forward KL that it closes, seed by seed."""
    of = {(row["method"], row["seed"]): row for row in rows}
    methods = list(dict.fromkeys(row["method"] for row in rows))
    table = []
    for name in methods:
        mine = [row for row in rows if row["method"] == name]
        closed = [_closed(of, row) for row in mine]
        shares = [share for share in closed if share is not None]
        table.append(
            {
                "method": name,
                "seeds": len(mine),
                **{key: statistics.mean(row[key] for row in mine) for key in ("kl", "cross_entropy", "same", "seconds")},
                "kl_spread": statistics.stdev(row["kl"] for row in mine) if len(mine) > 1 else None,
                "gap_closed": statistics.mean(shares) if shares else None,
                "gap_closed_by_seed": shares,
            }
        )
    return table


def _closed(of: dict[tuple[str, int], dict[str, Any]], row: dict[str, Any]) -> float | None:
    baseline, full = of.get((BASELINE, row["seed"])), of.get(("forward KL", row["seed"]))
    if baseline is None or full is None or baseline["kl"] == full["kl"]:
        return None
    return float((baseline["kl"] - row["kl"]) / (baseline["kl"] - full["kl"]))


def _table(summary: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| method | seeds | KL to the teacher | cross-entropy | same first choice | gap closed | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in summary:
        spread = "" if row["kl_spread"] is None else f" ± {row['kl_spread']:.4f}"
        closed = "-" if row["gap_closed"] is None else f"{row['gap_closed']:.0%}"
        figures = f"{row['kl']:.4f}{spread} | {row['cross_entropy']:.3f} | {row['same']:.1%} | {closed} | {row['seconds']:.0f}"
        lines.append(f"| {row['method']} | {row['seeds']} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
