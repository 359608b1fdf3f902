"""Labelling by name: questions of a dataset or a file, a teacher, and the dataset version that its answers make.

What labelling is stands in `stillhouse.labelling`. Killed midway and started again with the same words, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from stillhouse.apply import Journal, Outcome
from stillhouse.curation import Collected, Options, build, collect_rows, save
from stillhouse.dataset import SPLITS, Dataset, Example
from stillhouse.errors import UsageError
from stillhouse.formats import FORMATS, format_of
from stillhouse.formats.base import Line, Quarantined, Row, check_strings, quarantine, read_lines, row_of_chat, too_long
from stillhouse.formats.examples import read_examples
from stillhouse.jobs.signals import Said, keep_answers, said_in, tokenizer_of, without_misfits
from stillhouse.labelling import label
from stillhouse.records import Record, canonical_json, fingerprint
from stillhouse.workspace import Workspace

Progress = Callable[[int, int], None]


class Wish(Record):
    """What is to be labelled, and how."""

    source: str
    """A file, or a dataset's name."""
    model: str
    out: str
    """Name of the dataset that is made."""
    parameters: dict[str, Any] = {}
    """The API's: temperature, max_completion_tokens, ..."""
    concurrency: int = 8
    logprobs: int = 0
    """Log-probabilities of so many of the likeliest tokens are asked for and kept, to be learned from. 0: none."""

    @property
    def asked(self) -> dict[str, Any]:
        """What goes with every question."""
        return {**self.parameters, **({"logprobs": True, "top_logprobs": self.logprobs} if self.logprobs else {})}


async def label_source(workspace: Workspace, wish: Wish, progress: Progress | None = None) -> Dataset:
    """Ask `wish.model` every question; its answers become a dataset. A dataset's splits stay, a file's are drawn.

    Raises NotFoundError, UsageError when no usable answer came or log-probabilities are wanted of who names no tokenizer,
    RecipeError where most are of other tokens than that tokenizer's, PermissionRefusedError, ConflictError when another process
    is at the same labelling.
    """
    collected = questions(workspace, wish.source)
    if not collected.examples:
        raise UsageError(f"{wish.source} holds no question.")
    target = workspace.target(wish.model)
    tokenizer = tokenizer_of(workspace, target.upstream) if wish.logprobs else None
    said: dict[str, tuple[Example, Said]] = {}
    try:
        with Journal(_journal_path(workspace, wish, collected), Outcome) as journal:
            labelled = await label(
                target.model,
                collected.examples,
                model_name=target.name,
                parameters=wish.asked,
                seen={outcome.key: outcome for outcome in journal.items()},
                keep=journal.add,
                progress=progress,
                left_out=lambda _, reason: collected.left_out(reason),
                heard=lambda example, response: said.update({example.id: (example, said_in(response.body))}),
                concurrency=wish.concurrency,
            )
            if tokenizer is not None:
                labelled = without_misfits(collected, labelled, tokenizer, said)
            dataset = _version(workspace, wish, collected, labelled, {target.upstream: target.may_train}, target.name)
            if tokenizer is not None:
                keep_answers(workspace, dataset, tokenizer, said)
            journal.drop()
    finally:
        await target.model.close()
    return dataset


def questions(workspace: Workspace, source: str) -> Collected:
    """The questions of a file (a file that is there wins over a dataset of that name) or of every split of a dataset."""
    path = Path(source)
    if path.is_file():
        return collect_rows(read_questions(path), file=path.name)
    if path.suffix:
        raise UsageError(f"There is no file {source}.")
    found = workspace.dataset(source)
    folder = workspace.dataset_folder(found.fingerprint)
    examples = [example for split in SPLITS for example in read_examples(folder, split)]
    return Collected(examples=examples, given_splits=True)


def read_questions(path: Path) -> Iterator[Row | Quarantined]:
    """Rows whose answers may be missing: a line of text each (`.txt`), chats that end with the user's turn (`.jsonl`), or any
    format with answers, which become references. Raises FormatError."""
    if path.suffix.lower() == ".txt":
        yield from (_text_row(line) for line in read_lines(path))
    elif path.suffix.lower() in {".jsonl", ".ndjson"}:
        yield from (_chat_row(line) for line in read_lines(path))
    else:
        yield from FORMATS.resolve(format_of(path))().read(path)


def _text_row(line: Line) -> Row | Quarantined:
    if line.too_long:
        return too_long(line)
    try:
        text = line.content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return quarantine(line.number, "not valid utf-8", line.content)
    if not text:
        return quarantine(line.number, "an empty line")
    return Row(line=line.number, messages=[{"role": "user", "content": text}], answer="")


def _chat_row(line: Line) -> Row | Quarantined:
    if line.too_long:
        return too_long(line)
    try:
        value = orjson.loads(line.content)
        check_strings(value)
        messages = value["messages"]
        answered = messages[-1]["role"] == "assistant"
        row = row_of_chat(line.number, messages if answered else [*messages, {"role": "assistant", "content": "?"}])
    except (ValueError, KeyError, IndexError, TypeError) as exc:
        return quarantine(line.number, f"no chat: {exc}", line.content)
    return row if answered else row.model_copy(update={"answer": ""})


def _version(
    workspace: Workspace, wish: Wish, collected: Collected, labelled: list[Example], may_train: dict[str, str], model: str
) -> Dataset:
    answered = collected.kept(labelled)
    answered.teacher_of = {example.source: model for example in labelled if example.source is not None}
    answered.may_train = may_train
    # Splits that were given were checked for leaks when they were drawn; a teacher may answer two questions alike.
    options = Options(near_duplicates=None) if collected.given_splits else Options()
    version = build(wish.out, answered, options, recipe={"label": wish.model_dump(mode="json")})
    return save(version, workspace.dataset_folder, workspace.store)


def _journal_path(workspace: Workspace, wish: Wish, collected: Collected) -> Path:
    asked = canonical_json([example.id for example in collected.examples])
    digest = fingerprint(wish.model_copy(update={"concurrency": 1}).json_bytes(), asked).removeprefix("sha256:")
    return workspace.settings.data_dir / "labels" / f"{digest[:32]}.jsonl"
