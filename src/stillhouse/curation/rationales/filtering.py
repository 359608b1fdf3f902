"""A folder of completions, sifted: what is kept and what was put aside as files, and fine-tuning data made of what is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.curation.rationales.choosing import Choice, choose_by
from stillhouse.curation.rationales.diversity import Diversity, diversity
from stillhouse.curation.rationales.reading import Reading
from stillhouse.curation.rationales.sieves import Sieve, Sifted, sift
from stillhouse.errors import ConflictError, NotFoundError
from stillhouse.files import write_atomic
from stillhouse.formats.reasoning_teacher.documents import Completions
from stillhouse.formats.reasoning_teacher.finetune_data import OPENAI, finetune_path, finetune_rows, write_finetune
from stillhouse.formats.reasoning_teacher.layout import Place, new_folder, read_split
from stillhouse.reasoning import Rationale, Template
from stillhouse.reasoning.templates import STOP
from stillhouse.records import Record
from stillhouse.similarity.base import Embedder

NOT_CHOSEN = "enough rationales of its question"


class Filtered(Record):
    """One file's account: `n` = `kept` + everything in `put_aside`."""

    dataset_key: str
    base_model: str
    completion_key: str
    n: int
    kept: int
    put_aside: dict[str, int]
    """Reason -> rationales."""
    questions: int
    """Questions that keep a rationale."""
    diversity: Diversity
    """Of what is kept."""
    kept_file: str | None = None
    put_aside_file: str | None = None
    finetune_file: str | None = None
    finetune_lines: int = 0
    no_finetune: str | None = None
    """Why there is no fine-tuning file, where one was asked for."""
    file: str


@dataclass(frozen=True)
class FineTune:
    """Fine-tuning data that is wanted of what is kept."""

    template: Template
    split: str | None = "default"
    """The paper's split key; None: every sample."""
    part: str = "train"
    platform: str = OPENAI


async def filter_file(
    reading: Reading,
    sieves: Sequence[Sieve],
    *,
    d: int | None = None,
    how: Choice = "first",
    seed: int = 0,
    out: Path | None = None,
    finetune: FineTune | None = None,
    splits: Path | None = None,
    embedder: Embedder | None = None,
) -> Filtered:
    """Sift one file. With `d`, at most so many rationales a question stay. With `out`, files are written there.

    `embedder` tells how different they are, where `how` asks for that; None: their word n-grams do.

    `splits`: the folder whose `split/` says which samples are for training. Nothing of the input is changed.
    """
    sifted = await sift(reading.rationales, sieves)
    if d is not None:
        chosen = {id(each) for each in await choose_by(sifted.kept, d, how, seed=seed, embedder=embedder)}
        sifted.put_aside += [(each, NOT_CHOSEN) for each in sifted.kept if id(each) not in chosen]
        sifted.kept = [each for each in sifted.kept if id(each) in chosen]
    written: dict[str, Any] = {}
    if out is not None:
        written = _write(reading, sifted, out)
        if finetune is not None:
            written |= _write_finetune(reading, sifted.kept, finetune, out, splits)
    return Filtered(
        dataset_key=reading.task.key,
        base_model=reading.base_model,
        completion_key=reading.completion_key,
        n=len(reading.rationales),
        kept=len(sifted.kept),
        put_aside=sifted.counts,
        questions=len({str(each.sample) for each in sifted.kept}),
        diversity=diversity(sifted.kept),
        file=str(reading.path),
        **written,
    )


def place_in(reading: Reading) -> Place:
    """Where the paper would keep this file."""
    metadata = reading.completions.metadata
    return Place(
        base_model=reading.base_model,
        completion_key=reading.completion_key,
        dataset_key=reading.task.key,
        finetune_key=reading.finetune_key,
        train_key=metadata.get("train_key"),
        epoch=metadata.get("epoch"),
    )


def _write(reading: Reading, sifted: Sifted, out: Path) -> dict[str, Any]:
    """The kept ones as a completion file, the others a line each with the reason."""
    name = place_in(reading).path
    kept_file = new_folder(out, "completion_data") / name
    if kept_file.resolve() == reading.path.resolve():
        raise ConflictError(f"--out {out} would overwrite {reading.path}. Choose another folder.")
    kept = Completions.make(reading.completions.metadata, [dict(each.row) for each in sifted.kept])
    Completions({**reading.completions.content, "data": kept.by_sample}, reading.completions.style).write(kept_file)
    aside_file = (out / "put_aside" / name).with_suffix(".jsonl")
    aside_file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"reason": reason, **each.row}) + "\n" for each, reason in sifted.put_aside]
    write_atomic(aside_file, "".join(lines).encode())
    return {"kept_file": str(kept_file), "put_aside_file": str(aside_file)}


def _write_finetune(
    reading: Reading, kept: Sequence[Rationale], wanted: FineTune, out: Path, splits: Path | None
) -> dict[str, Any]:
    samples = [taught(each) for each in kept]
    if wanted.split is not None:
        try:
            part = read_split(splits or out, reading.task.key, wanted.split).get(wanted.part, [])
        except NotFoundError as exc:
            return {"no_finetune": str(exc)}
        indices = set(part)
        samples = [sample for sample in samples if sample["sample_index"] in indices]
    path = finetune_path(new_folder(out, "finetune_data"), wanted.platform, f"{reading.completion_key}_{reading.task.key}")
    rows = finetune_rows(samples, wanted.template, stop=STOP if wanted.platform == OPENAI else None)
    return {"finetune_file": str(path), "finetune_lines": write_finetune(path, rows)}


def taught(rationale: Rationale) -> dict[str, Any]:
    """A rationale as the templates fill it in: the question, the gold answer, or where nobody knows it the one it comes to."""
    answer = rationale.answer or rationale.said or ""
    return {**rationale.row, "answer": answer, "reasoning_completion": rationale.reasoning}
