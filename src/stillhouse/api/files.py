"""`/v1/files`: upload, list, read, download, delete. What a file is, and whether it is what it should be, stands in `filing`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args
from urllib.parse import quote

from pydantic import BaseModel, Field

from stillhouse.api.access import Policy
from stillhouse.api.asgi import PIECE, Call, Reply, start
from stillhouse.api.bodies import parse_value
from stillhouse.api.describing import BINARY, one_of, takes
from stillhouse.api.endpoint import Line
from stillhouse.api.multipart import OVERHEAD_BYTES, nested, read_form
from stillhouse.api.pages import PageQuery, list_body
from stillhouse.errors import NotFoundError
from stillhouse.filing import FileRecord, Filing, UploadPurpose
from stillhouse.filing.shelf import KIND

ALL = "/v1/files"
ONE = ALL + "/{file_id}"
MAX_PAGE = 10_000
SHOWN_AS = {"evals": "user_data"}
"""Purposes that the SDK's type of a file has no word for, though it uploads them; the true one stands beside it."""


class ExpiresAfter(BaseModel):
    """When a file goes: so many seconds after it was created."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class NewFile(BaseModel):
    """What is said of a file when it is created."""

    purpose: UploadPurpose
    expires_after: ExpiresAfter | None = None

    @property
    def seconds(self) -> int | None:
        return None if self.expires_after is None else self.expires_after.seconds


class UploadedFiles:
    """Handlers; whatever touches the disk runs in a thread."""

    def __init__(self, filing: Filing, max_file_bytes: int) -> None:
        self._filing = filing
        self._max_file_bytes = max_file_bytes

    def routes(self) -> list[Line]:
        return [
            ("POST", ALL, self.create, Policy.KEY),
            ("GET", ALL, self.list, Policy.KEY),
            ("GET", ONE, self.retrieve, Policy.KEY),
            ("DELETE", ONE, self.delete, Policy.KEY),
            ("GET", ONE + "/content", self.content, Policy.KEY),
        ]

    @takes(form={"file": BINARY, "purpose": one_of(*get_args(UploadPurpose))})
    async def create(self, call: Call) -> Reply:
        call.refuse_announced(self._max_file_bytes + OVERHEAD_BYTES)
        with await asyncio.to_thread(self._filing.draft, call.announced) as draft:
            form = await read_form(call, draft, file_field="file", max_bytes=self._max_file_bytes)
            wish = parse_value(NewFile, nested(form.fields))
            record = await asyncio.to_thread(
                self._filing.file_draft, draft, form.filename or "", wish.purpose, seconds=wish.seconds
            )
        return Reply.of(file_body(record))

    @takes(query={"purpose": {"type": "string"}}, most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        page = PageQuery(call.query, limit=MAX_PAGE, most=MAX_PAGE, order="desc")
        purpose = call.query.get("purpose")
        query = page.documents(KIND, where={} if purpose is None else {"purpose": purpose})
        found = await asyncio.to_thread(self._filing.page, query)
        return Reply.of(list_body([file_body(record) for record in found.items], has_more=found.has_more))

    async def retrieve(self, call: Call) -> Reply:
        return Reply.of(file_body(await asyncio.to_thread(self._filing.file, call.path_parameter("file_id"))))

    async def delete(self, call: Call) -> Reply:
        file_id = call.path_parameter("file_id")
        await asyncio.to_thread(self._filing.delete, file_id)
        return Reply.of({"id": file_id, "object": "file", "deleted": True})

    @takes(answers="application/octet-stream")
    async def content(self, call: Call) -> None:
        record = await asyncio.to_thread(self._filing.file, call.path_parameter("file_id"))
        file = await asyncio.to_thread(_opened, self._filing.files.path(record.sha256))
        with file:
            await call.send(start(200, _download_headers(record)))
            while piece := await asyncio.to_thread(file.read, 4 * PIECE):
                await call.send({"type": "http.response.body", "body": piece, "more_body": True})
            await call.send({"type": "http.response.body", "body": b"", "more_body": False})


def file_body(record: FileRecord) -> dict[str, Any]:
    """The file as the SDK reads it; what it has no place for stands under `stillhouse`."""
    known = record.model_dump(mode="json", exclude={"sha256", "lines"})
    ours = {"purpose": record.purpose, "sha256": record.sha256, "lines": record.lines}
    return {**known, "object": "file", "purpose": SHOWN_AS.get(record.purpose, record.purpose), "stillhouse": ours}


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise NotFoundError("The file was deleted just now.") from None


def _download_headers(record: FileRecord) -> dict[str, str]:
    """Always an attachment (RFC 6266): a browser must not show what somebody uploaded as a page of this server."""
    plain = "".join(c if c.isascii() and c.isalnum() or c in " ._-" else "_" for c in record.filename)
    return {
        "content-type": "application/octet-stream",
        "content-length": str(record.bytes),
        "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(record.filename, safe='')}",
        "content-security-policy": "sandbox",
    }
