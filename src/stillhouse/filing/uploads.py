"""Files that come in parts: an upload is announced with its size, its parts come in any order, completing it files them as one.

A part's bytes lie with the files' under their hash, wanted until the upload has ended. The file's id is decided when the upload
is made, so completing it again after a crash makes no second file.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Literal

from stillhouse.document import Document, DocumentQuery
from stillhouse.errors import ConflictError, NotFoundError, UsageError
from stillhouse.files import Draft
from stillhouse.filing.record import FilePurpose, FileRecord, shown_name
from stillhouse.filing.shelf import MONTH_SECONDS, PART_KIND, PIECE, Filing
from stillhouse.ids import new_id
from stillhouse.records import Record
from stillhouse.stores.base import DocumentStore

KIND = "upload"
HOUR_SECONDS = 3600
MAX_PARTS = 10_000
PART_BYTES = 64 * 2**20
"""The largest part, as at OpenAI's."""


class Upload(Record):
    id: str
    bytes: int
    """What all parts together will have."""
    created_at: int
    expires_at: int
    filename: str
    purpose: FilePurpose
    status: Literal["pending", "completed", "cancelled", "expired"] = "pending"
    seconds: int | None = None
    """How long the file will be there."""
    file_id: str
    """What the file will be called."""
    part_ids: tuple[str, ...] = ()
    """Of a completed one: its parts, in their order."""


class Part(Record):
    id: str
    upload_id: str
    created_at: int
    bytes: int
    sha256: str


class Uploads:
    """Every method but the constructor reads or writes on disk."""

    def __init__(self, store: DocumentStore, filing: Filing, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._filing = filing
        self._now = now
        self._guard = threading.Lock()
        self._completing: set[str] = set()
        self._come: dict[str, tuple[int, int]] = {}
        """Upload -> parts and bytes that have come; what is not here is counted in the store."""

    def create(self, size: int, filename: str, purpose: FilePurpose, *, seconds: int | None = None) -> Upload:
        """Announce a file of `size` bytes. Raises StoreError."""
        created = int(self._now())
        upload = Upload(
            id=new_id("upload"),
            bytes=size,
            created_at=created,
            expires_at=created + HOUR_SECONDS,
            filename=shown_name(filename),
            purpose=purpose,
            seconds=seconds,
            file_id=new_id("file"),
        )
        self._store.put_document(
            Document(kind=KIND, id=upload.id, created=created, record=upload.model_dump(mode="json"))
        ).result()
        return upload

    def upload(self, upload_id: str) -> Upload:
        """Raises NotFoundError."""
        document = self._store.document(KIND, upload_id)
        if document is None:
            raise NotFoundError(f"There is no upload '{upload_id[:80]}'.")
        upload = Upload.model_validate(document.record)
        over = upload.status == "pending" and upload.expires_at <= self._now()
        return upload.model_copy(update={"status": "expired"}) if over else upload

    def pending(self, upload_id: str) -> Upload:
        """The upload, if it still takes parts. Raises NotFoundError, UsageError."""
        upload = self.upload(upload_id)
        if upload.status != "pending":
            raise UsageError(f"The upload '{upload.id}' is {upload.status}, so nothing can be added to it or changed about it.")
        return upload

    def add(self, upload_id: str, draft: Draft) -> Part:
        """Keep a part; within the draft's block. Raises NotFoundError, UsageError where it is one too many, StoreError."""
        upload = self.pending(upload_id)
        self._count(upload, draft.size)
        part = Part(id=new_id("part"), upload_id=upload.id, created_at=int(self._now()), bytes=draft.size, sha256=draft.keep())
        document = Document(
            kind=PART_KIND, id=part.id, parent=upload.id, created=part.created_at, record=part.model_dump(mode="json")
        )
        self._store.put_document(document).result()
        return part

    def complete(self, upload_id: str, part_ids: Sequence[str], md5: str | None = None) -> tuple[Upload, FileRecord]:
        """File the parts as one, in the order of `part_ids`; the same call again gives the same file.

        Raises UsageError where they do not add up to what was announced or `md5` (hex) is another, NotFoundError, StoreError,
        ConflictError while somebody else completes it.
        """
        with self._alone(upload_id):
            upload = self.upload(upload_id)
            if upload.status == "completed" and list(upload.part_ids) == list(part_ids):
                return upload, self._filing.file(upload.file_id)
            upload = self.pending(upload_id)
            parts = self._chosen(upload, part_ids)
            with self._filing.draft(upload.bytes) as draft:
                _check_md5(self._joined(parts, draft), md5)
                file = self._filing.file_draft(
                    draft, upload.filename, upload.purpose, seconds=upload.seconds, file_id=upload.file_id
                )
                return self._end(upload, "completed", list(part_ids)), file

    def cancel(self, upload_id: str) -> Upload:
        """No part of it is kept. Raises NotFoundError, UsageError unless it is pending, ConflictError while it is completed."""
        with self._alone(upload_id):
            return self._end(self.pending(upload_id), "cancelled", [])

    def sweep(self) -> int:
        """End the uploads whose time is over, and forget those that ended a month ago; returns how many were ended."""
        documents = self._store.documents(DocumentQuery(kind=KIND, limit=10**9)).items
        pending = [document.id for document in documents if document.record["status"] == "pending"]
        over = [upload for upload in map(self.upload, pending) if upload.status == "expired"]
        for upload in over:
            with suppress(ConflictError), self._alone(upload.id):  # somebody may just be completing it
                self._end(upload, "expired", [])
        for document in documents:
            if document.id not in pending and document.created < self._now() - MONTH_SECONDS:
                self._store.delete_document(KIND, document.id).result()
        return len(over)

    def _end(self, upload: Upload, status: Literal["completed", "cancelled", "expired"], part_ids: list[str]) -> Upload:
        changes = {"status": status, "part_ids": part_ids}
        changed = self._store.change_document(KIND, upload.id, changes, {"status": ["pending"]}).result()
        if changed is None:
            raise ConflictError(f"The upload '{upload.id}' has ended just now.")
        self._come.pop(upload.id, None)
        parts = self._parts(upload.id)
        for write in [self._store.delete_document(PART_KIND, part.id) for part in parts]:
            write.result()
        self._filing.forget({part.sha256 for part in parts})
        return Upload.model_validate(changed)

    def _parts(self, upload_id: str) -> list[Part]:
        query = DocumentQuery(kind=PART_KIND, parent=upload_id, limit=10**9)
        return [Part.model_validate(document.record) for document in self._store.documents(query).items]

    def _chosen(self, upload: Upload, part_ids: Sequence[str]) -> list[Part]:
        there = {part.id: part for part in self._parts(upload.id)}
        missing = [part_id for part_id in part_ids if part_id not in there]
        if missing or not part_ids:
            raise UsageError(f"The upload '{upload.id}' has no part '{missing[0][:80]}'." if missing else "No part is named.")
        if len(set(part_ids)) < len(part_ids):
            raise UsageError("A part is named twice; each part goes into the file once.")
        size = sum(there[part_id].bytes for part_id in part_ids)
        if size != upload.bytes:
            raise UsageError(f"The parts named have {size} bytes together; the upload was announced with {upload.bytes}.")
        return [there[part_id] for part_id in part_ids]

    def _joined(self, parts: Sequence[Part], draft: Draft) -> str:
        """The MD5, hex, of all parts, which are written to `draft`."""
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            with self._filing.files.path(part.sha256).open("rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
                    draft.write(piece)
        return digest.hexdigest()

    def _count(self, upload: Upload, size: int) -> None:
        """Bounded: so many parts, and little more in bytes than was announced (a part may have been sent twice)."""
        with self._guard:
            if upload.id not in self._come:
                parts = self._parts(upload.id)
                self._come[upload.id] = len(parts), sum(part.bytes for part in parts)
            count, total = self._come[upload.id]
            if count >= MAX_PARTS:
                raise UsageError(f"The upload '{upload.id}' has {MAX_PARTS} parts, which is the most allowed.")
            if total + size > upload.bytes + PART_BYTES:
                raise UsageError(f"The parts have more than the {upload.bytes} bytes that the upload was announced with.")
            self._come[upload.id] = count + 1, total + size

    @contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        with self._guard:
            if upload_id in self._completing:
                raise ConflictError(f"The upload '{upload_id[:80]}' is being completed right now.")
            self._completing.add(upload_id)
        try:
            yield
        finally:
            with self._guard:
                self._completing.discard(upload_id)


def _check_md5(found: str, given: str | None) -> None:
    if given is not None and given.lower() != found:
        raise UsageError(f"The parts have the MD5 {found}, not {given[:64]}: something was lost or exchanged on the way.")
