"""Lines of a batch: requests, or what the API says of them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from stillhouse.formats.batch_requests import BatchRequest, Unfit, read_requests

URL = "/v1/chat/completions"
GOOD = {"custom_id": "a", "method": "POST", "url": URL, "body": {"model": "m"}}

BAD = [
    ([], "invalid_json_line", None),
    ({**GOOD, "custom_id": None}, "missing_required_parameter", "custom_id"),
    ({**GOOD, "custom_id": 7}, "invalid_value", "custom_id"),
    ({**GOOD, "custom_id": "x" * 513}, "invalid_value", "custom_id"),
    ({**GOOD, "method": "GET"}, "invalid_method", "method"),
    ({**GOOD, "url": "/v1/embeddings"}, "invalid_url", "url"),
    ({**GOOD, "url": "http://169.254.169.254/"}, "invalid_url", "url"),
    ({**GOOD, "body": "text"}, "invalid_value", "body"),
    ({key: value for key, value in GOOD.items() if key != "body"}, "missing_required_parameter", "body"),
    (GOOD, "duplicate_custom_id", "custom_id"),
]


@pytest.mark.parametrize(("row", "code", "param"), BAD)
def test_a_line_that_is_no_request(tmp_path: Path, row: object, code: str, param: str | None) -> None:
    path = tmp_path / "f"
    path.write_bytes(orjson.dumps(GOOD) + b"\n" + orjson.dumps(row) + b"\n{\n" + orjson.dumps({**GOOD, "custom_id": "b"}))
    first, unfit, broken, last = read_requests(path, URL)
    assert first == BatchRequest(line=1, custom_id="a", url=URL, body={"model": "m"})
    assert isinstance(unfit, Unfit) and (unfit.line, unfit.code, unfit.param) == (2, code, param)
    assert isinstance(broken, Unfit) and (broken.line, broken.code) == (3, "invalid_json_line")
    assert isinstance(last, BatchRequest) and last.line == 4
