"""What `cot generate` and `cot prepare` do between their options and the verbs: methods, worked examples, tasks by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from stillhouse.cli.output import Session
from stillhouse.cli.watching import asking
from stillhouse.curation.rationales.preparing import Prepared, prepare
from stillhouse.errors import FormatError, NotFoundError, UsageError
from stillhouse.explaining import METHODS, Method
from stillhouse.formats.originals import ORIGINALS
from stillhouse.formats.originals.base import Pair
from stillhouse.jobs.rationales import Wish, generate
from stillhouse.reasoning.templates import SHAPES
from stillhouse.tasks import PAPER_TASKS

AUTO, NONE = "auto", "none"


def method_of(
    name: str,
    samples: int,
    temperature: str,
    max_tokens: int | None,
    seed: int | None,
    asks: str,
    examples: Path | None,
    task: str,
    shape: str,
) -> Method:
    """Raises UsageError, FormatError, NotFoundError; pydantic's error for numbers out of range."""
    if name not in METHODS:
        raise UsageError(f"There is no method '{name}'. There are: {', '.join(METHODS)}.")
    if (name == "fs_cot") != (examples is not None):
        raise UsageError("fs_cot needs worked examples, and no other method takes any: --method fs_cot --examples FILE.")
    if asks not in ("paper", "task"):
        raise UsageError(f"--asks is paper or task; got '{asks}'.")
    if shape not in SHAPES:
        raise UsageError(f"There is no shape '{shape}'. There are: {', '.join(SHAPES)}.")
    return Method.model_validate(
        {
            "name": name,
            "samples": samples,
            "temperature": None if temperature in (AUTO, NONE) else temperature,
            "send_temperature": temperature != NONE,
            "max_tokens": max_tokens,
            "seed": seed,
            "asks": asks,
            "shape": shape,
            "examples": "" if examples is None else read_examples(examples, task),
        }
    )


def read_examples(path: Path, task: str) -> str:
    """Worked examples: a text as it is, or those of `task` in the paper's prompts file (`{task: {"prompt": ...}}`)."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.") from None
    except (OSError, ValueError) as exc:
        raise FormatError(f"{path} cannot be read as text: {exc}.") from exc
    if path.suffix != ".json":
        return text
    try:
        found: Any = json.loads(text)
        return str(found[task]["prompt"])
    except (ValueError, TypeError, KeyError) as exc:
        raise FormatError(
            f"{path} holds no prompt for '{task}': a JSON object of {{task: {{\"prompt\": ...}}}} is wanted."
        ) from exc


def prepared(session: Session, source: Path | None, tasks: tuple[str, ...], to: Path, count: int, seed: int) -> list[Prepared]:
    """Read, or generate, and write. Raises NotFoundError where the files of a named task, or of all, are missing."""
    if source is None:
        made = [(key, PAPER_TASKS.resolve(key)(count, seed)) for key in tasks or PAPER_TASKS.names()]
        return [prepare(key, [Pair(each.text, each.answer) for each in questions], to) for key, questions in made]
    if not source.is_dir():
        raise NotFoundError(f"There is no folder {source}.")
    found = []
    for key in tasks or ORIGINALS.names():
        try:
            found.append(prepare(key, ORIGINALS.resolve(key)().read(source), to))
        except NotFoundError as exc:
            if tasks:
                raise
            session.say(f"{key}: {exc}")
    if not found:
        raise NotFoundError(f"{source} holds the files of none of {', '.join(ORIGINALS.names())}.")
    return found


def generated(session: Session, wish: Wish) -> None:
    """Generate, and say what came."""
    session.workspace.share()
    with asking(session) as progress:
        made = asyncio.run(generate(session.workspace, wish, lambda done, total: progress(wish.model, done, total)))
    for reason, count in made.left_out.most_common():
        session.say(f"{count:,} did not come: {reason}.")
    if made.out_of_budget:
        session.say("The budget is spent. Say the same with a larger one to go on.")
    session.say(f"{made.new:,} new rationales are in {made.path}. How many are right: stillhouse cot score {wish.to}")
    session.emit(
        {
            "file": str(made.path),
            "dataset_key": made.task,
            "questions": made.questions,
            "rationales": made.rationales,
            "new": made.new,
            "left_out": dict(made.left_out),
            "out_of_budget": made.out_of_budget,
        }
    )
