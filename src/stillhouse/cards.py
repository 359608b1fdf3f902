"""A model as it leaves the house: its files, a card for people (`README.md`) and a record for machines (`run.json`).

Everything in both was kept when the model was made; nothing is measured or guessed here. The card's front matter is YAML as
model hubs read it, written as JSON values (which YAML is a superset of), so that no name can break out of its place.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.artifact import Artifact
from stillhouse.artifacts import MANIFEST
from stillhouse.errors import ConflictError
from stillhouse.files import finish_directory, hash_file
from stillhouse.grade import ModelResult, Report
from stillhouse.records import canonical_json

CARD, RECORD = "README.md", "run.json"


def export_model(artifact: Artifact, folder: Path, reports: Sequence[Report], out: Path) -> list[str]:
    """Copy `folder` to `out`, which must not hold anything yet, and add the card and the record.

    The manifest names them too and is written last, so that the folder can be verified and added elsewhere. Returns the names of
    the files. Raises ConflictError.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConflictError(f"{out} holds something already. Name an empty or a new folder.")
    shutil.copytree(folder, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
    (out / CARD).write_text(card(artifact, reports), encoding="utf-8")
    (out / RECORD).write_bytes(canonical_json(record(artifact, reports)) + b"\n")
    added = {name: hash_file(out / name) for name in (CARD, RECORD)}
    exported = artifact.model_copy(update={"hashes": {**artifact.hashes, **added}})
    finish_directory(out, MANIFEST, exported.json_bytes())
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def record(artifact: Artifact, reports: Sequence[Report]) -> dict[str, Any]:
    """Enough to make the model again, and what it was measured at."""
    found = [(report, result) for report in reports for result in report.results if result.model == artifact.id]
    return {
        "artifact": artifact.model_dump(mode="json"),
        "evaluations": [
            {"report": report.id, "dataset": report.dataset, "split": report.split, "examples": report.examples,
             "result": result.model_dump(mode="json")}
            for report, result in found
        ],
    }  # fmt: skip


def card(artifact: Artifact, reports: Sequence[Report]) -> str:
    """The model card: front matter and body."""
    sections = [_front_matter(artifact, reports), f"# {artifact.name or artifact.id}", _origin(artifact), _terms(artifact)]
    return "\n\n".join([*sections, _measured(artifact, reports), _limits(artifact)]) + "\n"


def _front_matter(artifact: Artifact, reports: Sequence[Report]) -> str:
    base = artifact.recipe.get("student", {}).get("base")
    fields: dict[str, Any] = {
        "library_name": _library(artifact),
        "pipeline_tag": _task(artifact),
        "tags": ["distillation", "stillhouse"],
        **({"base_model": str(base), "base_model_relation": "finetune"} if base else {}),
        **({"datasets": [artifact.dataset]} if artifact.dataset else {}),
        **({"model-index": [_index(artifact, reports)]} if _results(artifact, reports) else {}),
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _library(artifact: Artifact) -> str:
    """Who loads its files: ours alone where the network is of our own making."""
    if artifact.kind == "encoder" and _config(artifact).get("architecture") == "compact":
        return "stillhouse"
    return {**dict.fromkeys(("causal", "encoder", "seq2seq"), "transformers"), "linear": "skops"}.get(artifact.kind, "stillhouse")


def _task(artifact: Artifact) -> str:
    """As model hubs call it."""
    if _config(artifact).get("objective") == "tokens":
        return "token-classification"
    generates = {"causal": "text-generation", "seq2seq": "text2text-generation"}
    return generates.get(artifact.kind, "text-classification")


def _config(artifact: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = artifact.recipe.get("student", {}).get("config", {})
    return found


def _index(artifact: Artifact, reports: Sequence[Report]) -> dict[str, Any]:
    return {
        "name": artifact.name or artifact.id,
        "results": [
            {
                "task": {"type": _task(artifact)},
                "dataset": {"name": report.name, "type": report.dataset, "split": report.split},
                "metrics": [{"type": f"accuracy/{grader}", "value": share.value} for grader, share in result.accuracy.items()],
            }
            for report, result in _results(artifact, reports)
        ],
    }


def _origin(artifact: Artifact) -> str:
    method = artifact.recipe.get("method", {}).get("kind", "")
    facts = {
        "Kind": artifact.kind,
        "Parameters": f"{artifact.parameters:,}",
        "Size": f"{artifact.size_bytes:,} bytes",
        "Teacher": artifact.teacher or "not recorded",
        "Method": method,
        "Dataset": artifact.dataset or "not recorded",
        "Run": artifact.run or "none: the model was added, not trained here",
        "Made by": f"Stillhouse {artifact.code_version}" if artifact.code_version else "",
    }
    return "\n".join(["## Where it comes from", "", *(f"- {name}: {value}" for name, value in facts.items() if value)])


def _terms(artifact: Artifact) -> str:
    lines = [f"- {upstream}: {flag}" for upstream, flag in sorted(artifact.may_train.items())]
    lines += [f"- {upstream}: overridden by name when this model was trained" for upstream in artifact.overridden]
    return "\n".join(["## May its teachers' answers be trained on?", "", *(lines or ["Not recorded."])])


def _measured(artifact: Artifact, reports: Sequence[Report]) -> str:
    rows = [
        f"| {report.name} | {report.split}, {report.examples} examples | {grader} | "
        f"{share.value:.1%} | {share.low:.1%} to {share.high:.1%} |"
        for report, result in _results(artifact, reports)
        for grader, share in result.accuracy.items()
    ]
    table = ["| report | questions | grader | accuracy | 95 % interval |", "|---|---|---|---|---|", *rows]
    return "\n".join(["## Measured", "", *(table if rows else ["Not evaluated yet."])])


def _limits(artifact: Artifact) -> str:
    return (
        "## Limits\n\nIt imitates one teacher on one kind of question. On other questions its answers mean nothing, and what the "
        f"teacher got wrong it may have learned. `{RECORD}` beside this file holds the whole recipe."
    )


def _results(artifact: Artifact, reports: Sequence[Report]) -> list[tuple[Report, ModelResult]]:
    return [(report, result) for report in reports for result in report.results if result.model == artifact.id]
