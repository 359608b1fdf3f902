"""`/v1/uploads`: large files in parts. What an upload is, and how its parts become one file, stands in `filing`."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel, Field

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import parse_body
from stillhouse.api.describing import BINARY, takes
from stillhouse.api.endpoint import Line
from stillhouse.api.files import NewFile, file_body
from stillhouse.api.multipart import OVERHEAD_BYTES, read_form
from stillhouse.errors import InvalidParameterError
from stillhouse.filing import FileRecord, Filing
from stillhouse.filing.uploads import MAX_PARTS, PART_BYTES, Part, Upload, Uploads

ALL = "/v1/uploads"
ONE = ALL + "/{upload_id}"
MAX_BODY_BYTES = 2**20
"""Of a JSON body here: the ids of all parts, and some room."""


class NewUpload(NewFile):
    bytes: int = Field(ge=1)
    filename: str = Field(min_length=1, max_length=1000)
    mime_type: str


class Completion(BaseModel):
    part_ids: list[str] = Field(min_length=1, max_length=MAX_PARTS)
    md5: str | None = None


class UploadsInParts:
    """Handlers; whatever touches the disk runs in a thread."""

    def __init__(self, uploads: Uploads, filing: Filing, max_upload_bytes: int) -> None:
        self._uploads = uploads
        self._filing = filing
        self._max_upload_bytes = max_upload_bytes

    def routes(self) -> list[Line]:
        return [
            ("POST", ALL, self.create, Policy.KEY),
            ("POST", ONE + "/parts", self.add, Policy.KEY),
            ("POST", ONE + "/complete", self.complete, Policy.KEY),
            ("POST", ONE + "/cancel", self.cancel, Policy.KEY),
        ]

    @takes(NewUpload)
    async def create(self, call: Call) -> Reply:
        wish = parse_body(NewUpload, await call.body(MAX_BODY_BYTES))
        if wish.bytes > self._max_upload_bytes:
            raise InvalidParameterError(f"'bytes' must be at most {self._max_upload_bytes}; got {wish.bytes}.", "bytes")
        upload = await asyncio.to_thread(self._uploads.create, wish.bytes, wish.filename, wish.purpose, seconds=wish.seconds)
        return Reply.of(upload_body(upload))

    @takes(form={"data": BINARY})
    async def add(self, call: Call) -> Reply:
        upload_id = call.path_parameter("upload_id")
        await asyncio.to_thread(self._uploads.pending, upload_id)
        call.refuse_announced(PART_BYTES + OVERHEAD_BYTES)
        with await asyncio.to_thread(self._filing.draft, call.announced) as draft:
            await read_form(call, draft, file_field="data", max_bytes=PART_BYTES)
            part = await asyncio.to_thread(self._uploads.add, upload_id, draft)
        return Reply.of(_part_body(part))

    @takes(Completion)
    async def complete(self, call: Call) -> Reply:
        wish = parse_body(Completion, await call.body(MAX_BODY_BYTES))
        upload_id = call.path_parameter("upload_id")
        upload, file = await asyncio.to_thread(self._uploads.complete, upload_id, wish.part_ids, wish.md5)
        return Reply.of(upload_body(upload, file))

    async def cancel(self, call: Call) -> Reply:
        return Reply.of(upload_body(await asyncio.to_thread(self._uploads.cancel, call.path_parameter("upload_id"))))


def upload_body(upload: Upload, file: FileRecord | None = None) -> dict[str, Any]:
    """The upload as the SDK reads it."""
    known = upload.model_dump(mode="json", exclude={"seconds", "file_id", "part_ids"})
    return {**known, "object": "upload", "file": None if file is None else file_body(file)}


def _part_body(part: Part) -> dict[str, Any]:
    return {"id": part.id, "object": "upload.part", "created_at": part.created_at, "upload_id": part.upload_id}
