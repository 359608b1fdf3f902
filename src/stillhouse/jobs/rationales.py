"""Explanations by name: the questions of a folder, a dataset or a file, a teacher, and the completion file that they make.

How a teacher is asked stands in `stillhouse.explaining`. The file is in the paper's layout. What is in it already is not asked
for again: more rationales a question are had by saying a larger number. What a killed run had got is in its ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.apply import Ask, Asking, Budget, Ledger, Limit, Meter, Outcome
from stillhouse.errors import ConflictError, NotFoundError, UsageError
from stillhouse.explaining import Asker, Method, Question, explain
from stillhouse.formats.reasoning_teacher.documents import Completions, Samples, read_json
from stillhouse.formats.reasoning_teacher.layout import Place, dataset_file, new_folder, read_split
from stillhouse.jobs.questions import find_questions
from stillhouse.prices import load_prices
from stillhouse.reasoning import ReasoningTask, task_of
from stillhouse.records import Record, canonical_json, fingerprint
from stillhouse.transcript import message_text
from stillhouse.workspace import Workspace

NOT_ASKED = "not asked: the budget is spent"
Progress = Callable[[int, int], None]


class Wish(Record):
    """What is to be explained, by whom, how, and where it goes."""

    source: str
    """A paper's folder (with `task`), one of its Dataset files, a dataset's name, or a file of questions."""
    model: str
    to: Path
    """The folder in the paper's layout."""
    task: str | None = None
    answers: str | None = None
    """The type of the answers, for a task of one's own."""
    split: str | None = None
    part: str = "train"
    """With `split`: only the questions of this part."""
    limit: int | None = None
    """Only so many questions."""
    key: str | None = None
    """`completion_key`; None: the method's name."""
    finetune_key: str | None = None
    """Of a student: the fine-tuning data it was made of, for the file's name."""
    method: Method = Method()
    concurrency: int = 8
    """At most so many requests at a time; how many the teacher bears is learnt."""
    budget: Budget = Budget()


@dataclass
class Explained:
    """What came of it."""

    path: Path
    task: str
    questions: int
    rationales: int
    """Rows of the file for these questions."""
    new: int
    """Of those, how many came now."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> rationales that did not come."""
    out_of_budget: bool = False
    """The same words with a larger budget go on from here."""


async def generate(workspace: Workspace, wish: Wish, progress: Progress | None = None) -> Explained:
    """Ask for every rationale that the file lacks, and write it.

    Raises UsageError, NotFoundError, ConflictError where the file was made in another way or another process is at it,
    PermissionRefusedError for a refused key, UpstreamError when nothing is answered any more.
    """
    task, asked, samples = questions_of(workspace, wish)
    meter = Meter(load_prices(workspace.settings.prices).of(wish.model))
    meter.require_bounded(wish.budget, wish.method.parameters([], 0))
    target = workspace.target(wish.model)
    try:
        metadata = {**_metadata(task, wish), "may_train": target.may_train}
        path = new_folder(wish.to, "completion_data") / _place(metadata).path
        there = _rows_there(path, metadata)
        account = Explained(path, task.key, len(asked), 0, 0)
        with Ledger(_ledger_path(workspace, wish, path), wish.budget, meter) as ledger:
            ledger.ask_again(ledger.given_up)
            kept = _Counted(ledger)
            asking = Asking(target.model, kept, Limit(wish.concurrency))
            rows = await explain(
                _asker(asking, kept, progress),
                asked,
                task,
                wish.method,
                model_name=target.name,
                there=there,
                left_out=lambda _, reason: account.left_out.update([reason]),
            )
            everything = {**there, **{(row["sample_index"], row["completion_index"]): row for row in rows}}
            Completions.make(metadata, [everything[key] for key in sorted(everything)]).write(path)
            _keep_questions(wish.to, task, samples)
            account.out_of_budget = asking.out_of_budget
            if not asking.out_of_budget:
                ledger.drop()
    finally:
        await target.model.close()
    account.rationales, account.new = len(rows), len(everything) - len(there)
    return account


def questions_of(workspace: Workspace, wish: Wish) -> tuple[ReasoningTask, list[Question], Samples]:
    """The task, the questions that are wanted of it, and all of them as the paper's Dataset."""
    samples, messages = _samples(workspace, wish)
    task = task_of(samples.dataset_key, wish.answers)
    rows = samples.rows
    if wish.split is not None:
        wanted = set(read_split(Path(wish.source), task.key, wish.split).get(wish.part, []))
        rows = [row for row in rows if row["sample_index"] in wanted]
    found = [
        Question(
            row["sample_index"], messages.get(row["sample_index"]) or _user(str(row["question"])), str(row.get("answer") or "")
        )
        for row in rows[: wish.limit]
    ]
    if not found:
        raise UsageError(f"{wish.source} holds no question.")
    return task, found, samples


def _samples(workspace: Workspace, wish: Wish) -> tuple[Samples, dict[int, list[dict[str, Any]]]]:
    """Questions as a Dataset, and of those that came as conversations the messages."""
    source = Path(wish.source)
    if source.is_dir():
        if wish.task is None:
            raise UsageError(f"{source} holds several tasks: say which with --task.")
        path = dataset_file(source, wish.task)
        if path is None:
            raise NotFoundError(f"{source} holds no dataset/{wish.task}.json.")
        return Samples.read(path), {}
    if source.suffix == ".json" and source.is_file():
        return Samples.read(source), {}
    examples = find_questions(workspace, wish.source)
    key = wish.task or source.stem.partition("@")[0]
    pairs = [(message_text(each.messages[-1]), each.answer if each.reference is None else each.reference) for each in examples]
    return Samples.make(key, pairs), {index: each.messages for index, each in enumerate(examples)}


class _Counted:
    """A ledger that tells how many are done. `Keeping`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.answered, self.set_aside, self.give_back = ledger.answered, ledger.set_aside, ledger.give_back
        self.told: Callable[[], None] = lambda: None

    async def keep(self, ask: Ask, outcome: Outcome) -> None:
        await self.ledger.keep(ask, outcome)
        self.told()


def _asker(asking: Asking, kept: _Counted, progress: Progress | None) -> Asker:
    """Progress is of the step that is under way."""

    async def ask(asks: Sequence[Ask]) -> Sequence[Outcome]:
        done = sum(kept.answered(each.key) for each in asks) - 1

        def tell() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, len(asks))

        kept.told = tell
        tell()
        await asking.all(asks)
        return [kept.ledger.outcome(each.key) or Outcome(key=each.key, error=NOT_ASKED) for each in asks]

    return ask


def _metadata(task: ReasoningTask, wish: Wish) -> dict[str, Any]:
    """In the paper's order, then what it adds for its own runs, then ours."""
    method = wish.method
    step = "reasoning_" if method.two_steps else ""
    return {
        "base_model": wish.model,
        "dataset_key": task.key,
        "completion_key": wish.key or method.name,
        "finetune_key": wish.finetune_key,
        "train_key": None,
        "epoch": None,
        "prediction_template": method.template,
        f"{step}temperature": method.heat if method.send_temperature else None,
        f"{step}max_tokens": method.length,
        "method": method.name,
        "asks": method.asks,
        "answers": task.kind,
    }


def _place(metadata: dict[str, Any]) -> Place:
    return Place(**{name: metadata[name] for name in ("base_model", "completion_key", "dataset_key", "finetune_key")})


def _rows_there(path: Path, metadata: dict[str, Any]) -> dict[tuple[int, int], dict[str, Any]]:
    """What an earlier go wrote. Raises ConflictError where it was made in another way."""
    if not path.is_file():
        return {}
    found = Completions.read(path)
    ways = {name: value for name, value in metadata.items() if name != "may_train"}
    other = [name for name, value in ways.items() if name in found.metadata and found.metadata[name] != value]
    if other:
        said = ", ".join(f"{name} {found.metadata[name]!r}, not {metadata[name]!r}" for name in other)
        raise ConflictError(f"{path} was made with {said}. Say the same again, or another --key.")
    return {(row["sample_index"], row["completion_index"]): row for row in found.rows}


def _keep_questions(folder: Path, task: ReasoningTask, samples: Samples) -> None:
    """The Dataset beside the completions, so that the folder says all there is to say."""
    path = new_folder(folder, "dataset") / f"{task.key}.json"
    if not path.is_file():
        samples.write(path)
    elif read_json(path)[0] != samples.content:
        raise ConflictError(f"{path} holds other questions. Choose another folder, or another --task.")


def _ledger_path(workspace: Workspace, wish: Wish, path: Path) -> Path:
    said = wish.model_copy(update={"concurrency": 1, "budget": Budget(), "to": Path()}).json_bytes()
    digest = fingerprint(said, canonical_json(str(path.resolve()))).removeprefix("sha256:")
    return workspace.settings.data_dir / "rationales" / f"{digest[:32]}.jsonl"


def _user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]
