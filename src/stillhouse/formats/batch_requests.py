"""The requests of a batch as OpenAI's API has them: one JSON object a line, `custom_id`, `method`, `url` and `body`.

A line that is no request carries the code that the API gives such an error. Lines must not share a `custom_id`: it is all that
tells their answers apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.formats.base import Quarantined, read_lines, row_of_json
from stillhouse.records import Record

FIELDS = ("custom_id", "method", "url", "body")
MAX_ID = 512
"""Characters of a `custom_id`."""


class BatchRequest(Record):
    """One line."""

    line: int
    """1 is the first line of the file."""
    custom_id: str
    url: str
    body: dict[str, Any]


class Unfit(Quarantined):
    """A line put aside, with what the API says of it."""

    code: str = "invalid_json_line"
    param: str | None = None


def read_requests(path: Path, endpoint: str | None = None) -> Iterator[BatchRequest | Unfit]:
    """Row by row. `endpoint`: the one `url` allowed. Ids are remembered by 16 bytes each. Raises NotFoundError, FormatError."""
    seen: set[bytes] = set()

    def request(number: int, value: Any) -> BatchRequest | Unfit:
        return _fault(number, value, endpoint) or _unlike(seen, number, value)

    for line in read_lines(path):
        row = row_of_json(line, "utf-8", request)
        yield row if isinstance(row, BatchRequest | Unfit) else Unfit(**row.model_dump())


def _fault(number: int, value: Any, endpoint: str | None) -> Unfit | None:
    """What is wrong with a line by itself."""
    if not isinstance(value, dict):
        return _unfit(number, "not a JSON object", "invalid_json_line")
    for field in FIELDS:
        if value.get(field) is None:
            return _unfit(number, f"'{field}' is missing", "missing_required_parameter", field)
    custom_id, method, url, body = (value[field] for field in FIELDS)
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= MAX_ID:
        return _unfit(number, f"'custom_id' is not text of 1 to {MAX_ID} characters", "invalid_value", "custom_id")
    if method != "POST":
        return _unfit(number, f"'method' is {str(method)[:40]!r}; allowed is 'POST'", "invalid_method", "method")
    if not isinstance(url, str) or (endpoint is not None and url != endpoint):
        return _unfit(number, f"'url' is {str(url)[:80]!r}; it must be '{endpoint or '/v1/...'}'", "invalid_url", "url")
    if not isinstance(body, dict):
        return _unfit(number, "'body' is not an object", "invalid_value", "body")
    return None


def _unlike(seen: set[bytes], number: int, value: dict[str, Any]) -> BatchRequest | Unfit:
    """The request, unless an earlier line has its id."""
    custom_id = value["custom_id"]
    mark = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
    if mark in seen:
        return _unfit(number, f"an earlier line has the 'custom_id' {custom_id[:80]!r}", "duplicate_custom_id", "custom_id")
    seen.add(mark)
    return BatchRequest(line=number, custom_id=custom_id, url=value["url"], body=value["body"])


def _unfit(line: int, reason: str, code: str, param: str | None = None) -> Unfit:
    return Unfit(line=line, reason=reason, code=code, param=param)
