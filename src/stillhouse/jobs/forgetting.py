"""Stored completions, deleted with every text of theirs that is kept as theirs; what was made of them on purpose is named.

With the exchange go the response that it answers and the texts of the rows of evals' runs that read it, of runs that go on too:
scores and counts stay, so that a result stays one. What has a life of its own (a dataset version with its fingerprint, the
students trained on it, a batch's file of answers) stays, and whoever deletes is told which those are. A deletion that is cut
short is finished later: what is to go is written down before anything goes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from stillhouse.apply import Journal, Outcome
from stillhouse.batch import OPEN
from stillhouse.completion import Completion
from stillhouse.dataset import Dataset
from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import ConflictError, NotFoundError
from stillhouse.evaluation.blocks import ROWS, Block
from stillhouse.evaluation.erasing import without_texts_of
from stillhouse.files import Files
from stillhouse.ids import new_id
from stillhouse.jobs.eval_rows import journal_path, run_files, stored_ids
from stillhouse.jobs.evals import EVAL_RUN, EvalRun, find_run, run_of
from stillhouse.records import Record
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.workspace import dataset_folder

ERASURE = "erasure"
"""Kind of documents: completions that are being deleted."""
AT_ONCE = 500
_SOURCE = re.compile(rb'"completion:([^"\\]+)"')


class Kept(Record):
    """Something made of what is deleted that has a life of its own."""

    kind: Literal["dataset", "model", "file"]
    id: str
    name: str

    @property
    def said(self) -> str:
        """It, and how it is taken away."""
        verb = {"dataset": "dataset remove", "model": "models remove"}.get(self.kind)
        away = "" if verb is None else f" Take it away with: stillhouse {verb} {self.id}"
        return f"the {self.kind} {self.name} ({self.id}).{away}"


class Forgotten(Record):
    deleted: int
    erased_in: tuple[str, ...] = ()
    """Evals' runs in which rows lost their texts."""
    kept_in: tuple[Kept, ...] = ()

    @property
    def reach(self) -> dict[str, Any]:
        """What whoever deletes one is told."""
        return self.model_dump(mode="json", exclude={"deleted"})


def forget(store: Store, settings: Settings, ids: Sequence[str]) -> Forgotten:
    """Delete completions; ids of none are passed over. Raises StoreError; then what it began is finished by `finish`."""
    rows = [row for row in map(store.completion, ids) if row is not None]
    kept = list(_kept(store, settings, rows))
    erasures = []
    for chunk in _chunks([row.id for row in rows]):
        erasures.append(Document(kind=ERASURE, id=new_id("erasure"), created=int(time.time()), record={"completions": chunk}))
        store.put_document(erasures[-1]).result()
    deleted, runs, whole = _erase(store, settings, [row.id for row in rows])
    for erasure in erasures if whole else ():
        store.delete_document(ERASURE, erasure.id).result()
    return Forgotten(deleted=deleted, erased_in=tuple(runs), kept_in=tuple(kept))


def finish(store: Store, settings: Settings) -> int:
    """Do what is left of deletions that a crash cut short or a run's worker was in the way of; returns how many are done."""
    done = 0
    for erasure in store.documents(DocumentQuery(kind=ERASURE, limit=10**9, order="asc")).items:
        if _erase(store, settings, erasure.record["completions"])[2]:
            done += store.delete_document(ERASURE, erasure.id).result()
    return done


def erase_in(store: Store, settings: Settings, run: EvalRun, gone: Collection[str]) -> tuple[bool, bool]:
    """Erase a run's rows that were made of `gone`: whether there are such, and whether nothing of them is left on disk.

    A worker that holds answers of theirs erases them itself when it keeps them; until then the second is False. Raises
    NotFoundError where the run, or a block of it, is gone.
    """
    files, rows = run_files(settings, run.id), run.record.rows
    if rows is None or not rows.stored:
        return False, True
    places = [place for place, stored in enumerate(stored_ids(rows, files)) if stored.completion in gone]
    if not places:
        return False, True
    with files.changing():
        blocks = _rewritten(store, run.id, files, gone, {f"row:{place}" for place in places})
        named = {*rows.files, *rows.stored, *(block.file for block in blocks)}
        files.drop([name for name in files.names() if name not in named], frozenset)  # of whoever was killed in here, too
    done = sum(block.rows for block in blocks)
    begun = any(done <= place < done + ROWS for place in places)
    journals = [journal_path(settings, run.id, number) for number in range(len(blocks) + begun)]  # kept blocks' are left by kills
    left = [path for path in journals if path.exists() and not _dropped(path)]
    return True, not left


def _dropped(path: Path) -> bool:
    """Remove a journal; whether that was possible: not while a worker writes it."""
    try:
        with Journal(path, Outcome) as journal:
            journal.drop()
    except ConflictError:
        return False
    return True


def _erase(store: Store, settings: Settings, ids: Sequence[str]) -> tuple[int, list[str], bool]:
    """How many completions were deleted, in which runs rows were erased, whether nothing is left to erase."""
    deleted = sum(store.delete_completions(chunk).result() for chunk in _chunks(ids))
    for completion in ids:
        response = f"resp_{completion.removeprefix('chatcmpl-')}"
        if store.document("response", response) is not None:
            store.delete_document("response", response).result()
    gone, touched, whole = frozenset(ids), [], True
    for document in store.documents(DocumentQuery(kind=EVAL_RUN, limit=10**9)).items if ids else ():
        try:
            some, all_ = erase_in(store, settings, run_of(store, document), gone)
        except NotFoundError:
            some, all_ = False, store.document(EVAL_RUN, document.id) is None  # the run was deleted just now
        touched += [document.id] if some else []
        whole = whole and all_
    return deleted, touched, whole


def _rewritten(store: Store, run_id: str, files: Files, gone: Collection[str], rows: Collection[str]) -> tuple[Block, ...]:
    """The run's blocks, by now without texts of `gone`; `rows` are those rows' names in its contamination check."""
    while True:
        record = find_run(store, run_id).record
        blocks = without_texts_of(gone, record.blocks, files.get, files.put)
        before, after = ([block.model_dump(mode="json") for block in each] for each in (record.blocks, blocks))
        changes: dict[str, object] = {"blocks": after}
        pairs = (record.contamination or {}).get("pairs", [])
        if any(pair["other"] in rows for pair in pairs):
            bare = [{**pair, "seen_text": "", "other_text": ""} if pair["other"] in rows else pair for pair in pairs]
            changes["contamination"] = {**(record.contamination or {}), "pairs": bare}
        expect: dict[str, Sequence[object]] = {"blocks": [before], "contamination": [record.contamination]}
        if store.change_document(EVAL_RUN, run_id, changes, expect).result() is not None:
            return blocks


def _kept(store: Store, settings: Settings, rows: Sequence[Completion]) -> Iterator[Kept]:
    """What was made of them and stays."""
    if not rows:
        return
    ids, oldest = {row.id.encode() for row in rows}, min(row.created for row in rows)
    models = store.artifacts()
    for dataset in store.datasets():
        if dataset.created >= oldest and any(source in ids for source in _sources(settings, dataset)):
            yield Kept(kind="dataset", id=dataset.fingerprint, name=dataset.name)
            for model in models:
                if model.dataset == dataset.fingerprint:
                    yield Kept(kind="model", id=model.id, name=model.name or model.id)
    for instance in sorted({row.instance for row in rows}):
        run = store.run(instance) if instance.startswith("run-") else None
        batch = None if run is None else store.document("batch", run.ref or "")
        if batch is not None:
            going = batch.record["status"] in OPEN
            file_id = batch.record["output_name"] if going else batch.record["output_file_id"]
            if file_id and (going or store.document("file", file_id) is not None):
                yield Kept(kind="file", id=file_id, name=f"the answers of {batch.id}")


def _sources(settings: Settings, dataset: Dataset) -> Iterator[bytes]:
    """The completions that a version's examples are from, as they are written; none where its files are gone."""
    for name in dataset.files.values():
        with suppress(FileNotFoundError), (dataset_folder(settings, dataset.fingerprint) / name).open("rb") as file:
            for line in file:
                yield from _SOURCE.findall(line)


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    left = list(ids)
    return (left[start : start + AT_ONCE] for start in range(0, len(left), AT_ONCE))
