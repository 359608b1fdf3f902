"""What is measured of an encoder, and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from stillhouse.artifacts import load_manifest
from stillhouse.dataset import Example
from stillhouse.formats.examples import read_examples
from stillhouse.students import STUDENTS
from teaching.encoder_data import FAMILY


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


def summarised(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each method's means over the seeds, and their spread."""
    figures = ("accuracy", "agreement", "kl")
    lines = []
    for name in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == name]
        means = {key: statistics.mean(row[key] for row in mine) for key in (*figures, "parameters", "seconds")}
        spread = {f"{key}_spread": statistics.stdev(row[key] for row in mine) if len(mine) > 1 else None for key in figures}
        lines.append({"method": name, "seeds": len(mine), **means, **spread})
    return lines


def table(summary: Sequence[dict[str, Any]]) -> str:
    """One row a method."""
    lines = [
        "| method | seeds | accuracy | teacher's choice | KL to the teacher | parameters | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in summary:
        spread = "" if row["agreement_spread"] is None else f" ± {row['agreement_spread']:.1%}"
        shares = f"{row['accuracy']:.1%} | {row['agreement']:.1%}{spread} | {row['kl']:.3f}"
        lines.append(f"| {row['method']} | {row['seeds']} | {shares} | {row['parameters']:,.0f} | {row['seconds']:.0f} |")
    return "\n".join(lines)
