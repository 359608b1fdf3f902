"""`Filing`: files by id. A record stands in the store, the bytes lie beside it under their hash, once however often they came.

Bytes come before their record and go after it, so there is never a record without its bytes; what a killed process left without
a record is found by `sweep`. A file whose time is over is not there any more, whether its bytes have been swept or not. Who reads
one for long (a batch, an eval's run, a fine-tuning job) holds its bytes by their hash, so that a file may be deleted meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import NotFoundError, StoreError
from stillhouse.files import Draft, Files
from stillhouse.filing.checking import check_apart
from stillhouse.filing.record import FilePurpose, FileRecord, shown_name
from stillhouse.ids import new_id
from stillhouse.settings import Settings
from stillhouse.stores.base import DocumentStore, Page

KIND = "file"
PART_KIND = "upload_part"
HOLDERS = (KIND, PART_KIND, "batch")
"""Kinds of documents whose `sha256` says that bytes are still wanted."""
READERS = ("eval.run", "fine_tuning.job")
"""Kinds whose `held` names the bytes that they read until they have ended."""
MONTH_SECONDS = 30 * 86_400
"""After which a file of requests goes, as OpenAI's do, unless another time was said."""
PIECE = 2**20
AT_ONCE = 256
"""Files that are removed in one go."""


class Filing:
    """Everything but `page`, `file` and `path_of` writes to disk, and waits for it.

    `held`: file ids -> the hashes of their bytes, which somebody holds: those are read whatever became of the files.
    """

    def __init__(
        self,
        store: DocumentStore,
        settings: Settings,
        now: Callable[[], float] = time.time,
        *,
        held: Mapping[str, str] | None = None,
    ) -> None:
        self.files = Files(settings.uploads)
        self._held = dict(held or {})
        self._store = store
        self._settings = settings
        self._now = now

    def draft(self, expected: int = 0) -> Draft:
        """A file to be written piece by piece, then handed to `file_draft`. Raises StoreError, also when the disk is nearly full.

        `expected`: bytes that are known to come.
        """
        disk = os.statvfs(self._settings.data_dir)
        if disk.f_bavail * disk.f_frsize < self._settings.min_free_bytes + expected:
            raise StoreError(
                f"With this file, less than {self._settings.min_free_bytes} bytes would be free where files are kept."
            )
        return self.files.draft()

    def keep(self, content: bytes | Path, filename: str, purpose: FilePurpose, *, seconds: int | None = None) -> FileRecord:
        """File bytes, or a copy of the file at a path. `seconds`: how long it is there. Raises StoreError."""
        with self.draft() as draft:
            if isinstance(content, bytes):
                draft.write(content)
            else:
                with content.open("rb") as source:
                    while piece := source.read(PIECE):
                        draft.write(piece)
            return self.file_draft(draft, filename, purpose, seconds=seconds)

    def file_draft(
        self, draft: Draft, filename: str, purpose: FilePurpose, *, seconds: int | None = None, file_id: str | None = None
    ) -> FileRecord:
        """Check what was written and file it, whatever the verdict; within the draft's block. Raises StoreError.

        `file_id`: the id that it was promised; filing it again under the same changes nothing but the times.
        """
        sha256 = draft.keep()
        verdict = check_apart(self.files.path(sha256), purpose)
        details = None if verdict is None else verdict.details
        created = int(self._now())
        if seconds is None and purpose == "batch":
            seconds = MONTH_SECONDS
        record = FileRecord(
            id=file_id or new_id("file"),
            bytes=draft.size,
            created_at=created,
            filename=shown_name(filename),
            purpose=purpose,
            status="processed" if details is None else "error",
            status_details=details,
            expires_at=None if seconds is None else created + seconds,
            sha256=sha256,
            lines=None if verdict is None else verdict.lines,
        )
        document = Document(kind=KIND, id=record.id, created=created, record=record.model_dump(mode="json"))
        self._store.put_document(document).result()
        return record

    def file(self, file_id: str) -> FileRecord:
        """Raises NotFoundError, for one whose time is over, too."""
        document = self._store.document(KIND, file_id)
        record = None if document is None else FileRecord.model_validate(document.record)
        if record is None or record.expired(self._now()):
            raise NotFoundError(f"There is no file '{file_id[:80]}'. See what there is: GET /v1/files")
        return record

    def path_of(self, file_id: str) -> Path:
        """Where a file's bytes lie, for reading. Raises NotFoundError."""
        held = self._held.get(file_id)
        if held is None:
            return self.files.path(self.file(file_id).sha256)
        if held not in self.files:
            raise NotFoundError(f"The file '{file_id[:80]}' was deleted, and nobody holds its content any more.")
        return self.files.path(held)

    def page(self, query: DocumentQuery) -> Page[FileRecord]:
        """A page of the files that are there. Raises NotFoundError where `query.after` is none."""
        now, found = self._now(), list[FileRecord]()
        while True:
            page = self._store.documents(query)
            records = [FileRecord.model_validate(document.record) for document in page.items]
            found += [record for record in records if not record.expired(now)]
            if not page.has_more or len(found) > query.limit:
                return Page(found[: query.limit], has_more=len(found) > query.limit)
            query = query.model_copy(update={"after": page.items[-1].id})

    def delete(self, file_id: str) -> None:
        """The record, and the bytes unless another file has the same. Raises NotFoundError."""
        record = self.file(file_id)
        if not self._store.delete_document(KIND, file_id).result():
            raise NotFoundError(f"There is no file '{file_id[:80]}': somebody has deleted it just now.")
        self.forget([record.sha256])

    def forget(self, names: Iterable[str]) -> None:
        """Remove bytes that no document refers to any more. Not all at once: nobody can file anything meanwhile."""
        left = iter(names)
        while some := list(islice(left, AT_ONCE)):
            self.files.drop(some, self._wanted)

    def release(self, kind: str, id: str) -> None:
        """A reader (of `READERS`) has ended: what it held goes, unless a file or another reader has it."""
        document = self._store.document(kind, id)
        if document is not None and document.record.get("held"):
            self._store.change_document(kind, id, {"held": []}).result()
            self.forget(map(str, document.record["held"]))

    def sweep(self) -> int:
        """Remove the files whose time is over, and bytes that a killed process left behind; returns how many files went."""
        gone = [record for record in self._all() if record.expired(self._now())]
        for record in gone:
            self._store.delete_document(KIND, record.id).result()
        self.files.remove_drafts()
        self.forget(list(self.files.names()))
        return len(gone)

    def _all(self) -> list[FileRecord]:
        return [FileRecord.model_validate(document.record) for document in self._documents(KIND)]

    def _documents(self, kind: str) -> list[Document]:
        return self._store.documents(DocumentQuery(kind=kind, limit=10**9)).items

    def _wanted(self) -> set[str]:
        kept = {str(document.record["sha256"]) for kind in HOLDERS for document in self._documents(kind)}
        held = (document.record.get("held", ()) for kind in READERS for document in self._documents(kind))
        return kept.union(*held)
