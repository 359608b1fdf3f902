"""`multipart/form-data`, parsed while it arrives: small fields into memory, the one file of a form straight to disk.

The library finds the boundaries; the caps are here: on the number of parts, on a field, on the file, on all of it together.
"""

from __future__ import annotations

import asyncio
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from stillhouse.api.asgi import BodyTooLargeError, Call
from stillhouse.errors import InvalidParameterError, UsageError
from stillhouse.files import Draft

MAX_PARTS = 64
MAX_FIELD_BYTES = 16 * 1024
OVERHEAD_BYTES = 2 * 2**20
"""What a form may be larger than its file: fields, headers and boundaries."""


class Form:
    """One form, fed in pieces from one thread at a time. The file, part `file_field`, goes to `draft`."""

    def __init__(self, content_type: str, draft: Draft, *, file_field: str, max_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise UsageError(f"Send multipart/form-data with a boundary, not '{content_type[:80]}'.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        """None until the file has come; `upload` if it came without a name."""
        self._draft = draft
        self._file_field = file_field
        self._max_bytes = max_bytes
        self._parts = 0
        self._whole = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": lambda data, start, end: self._data(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError as exc:
            raise UsageError(f"The form's boundary cannot be used: {exc}.") from exc

    def feed(self, piece: bytes) -> None:
        """The next bytes. Raises UsageError, BodyTooLargeError; StoreError where the file cannot be written."""
        if self._whole:
            return  # an epilogue says nothing (RFC 2046, 5.1.1)
        try:
            self._parser.write(piece)
        except FormParserError as exc:
            raise UsageError(f"The form cannot be read: {exc}.") from exc

    def close(self) -> None:
        """No more bytes come. Raises UsageError where the form has no end, or no file."""
        if not self._whole:
            raise UsageError("The form breaks off before its last boundary.")
        if self.filename is None:
            raise InvalidParameterError(f"The form has no file: '{self._file_field}' is missing.", self._file_field)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise UsageError(f"The form has more than {MAX_PARTS} parts.")
        self._disposition = b""
        self._header_name, self._header_value, self._value = bytearray(), bytearray(), bytearray()

    def _header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name, self._header_value = bytearray(), bytearray()

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == self._file_field:
            if self.filename is not None:
                raise InvalidParameterError(f"The form has more than one '{self._file_field}'.", self._file_field)
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace") or "upload"

    def _data(self, data: bytes) -> None:
        if self._name == self._file_field:
            if self._draft.size + len(data) > self._max_bytes:
                raise BodyTooLargeError(f"'{self._file_field}' has more than {self._max_bytes} bytes, which is the most allowed.")
            self._draft.write(data)
        elif len(self._value) + len(data) > MAX_FIELD_BYTES:
            raise InvalidParameterError(f"'{self._name[:80]}' has more than {MAX_FIELD_BYTES} bytes.", self._name[:80])
        else:
            self._value += data

    def _end(self) -> None:
        if self._name != self._file_field:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _finish(self) -> None:
        self._whole = True


async def read_form(call: Call, draft: Draft, *, file_field: str, max_bytes: int) -> Form:
    """The whole form, its file written to `draft` in a thread as it arrives.

    Raises UsageError (BodyTooLargeError, BodyTooSlowError, InvalidParameterError), StoreError, ClientGoneError.
    """
    form = Form(call.headers.get("content-type", ""), draft, file_field=file_field, max_bytes=max_bytes)
    async for piece in call.pieces(max_bytes + OVERHEAD_BYTES):
        await asyncio.to_thread(form.feed, piece)
    form.close()
    return form


def nested(fields: dict[str, str]) -> dict[str, Any]:
    """`{"a[b]": "1", "c": "2"}` as `{"a": {"b": "1"}, "c": "2"}`: how the SDK writes objects into a form."""
    values: dict[str, Any] = {}
    for name, value in fields.items():
        outer, bracket, rest = name.partition("[")
        if bracket and rest.endswith("]"):
            inner = values.setdefault(outer, {})
            if isinstance(inner, dict):
                inner[rest[:-1]] = value
        else:
            values.setdefault(name, value)
    return values
