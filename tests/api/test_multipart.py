"""Forms: however the bytes are cut on the way, the same fields and the same file come out, and nothing grows without bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse.api.asgi import BodyTooLargeError
from stillhouse.api.multipart import MAX_FIELD_BYTES, MAX_PARTS, Form, nested
from stillhouse.errors import UsageError
from stillhouse.files import Files

TYPE = "multipart/form-data; boundary=xyz"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"


def form_of(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xyz--\r\n"


def read(root: Path, body: bytes, cuts: list[int] | None = None, *, limit: int = 10**6, kind: str = TYPE) -> tuple[Form, bytes]:
    files = Files(root)
    with files.draft() as draft:
        form = Form(kind, draft, file_field="file", max_bytes=limit)
        begin = 0
        for end in [*sorted(cuts or []), len(body)]:
            form.feed(body[begin:end])
            begin = max(begin, end)
        form.close()
        return form, files.get(draft.keep())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    content=st.binary(max_size=200) | st.sampled_from([b"\r\n--xy", b"\r\n--xyz-", b"--xyz\r\n", b"\r\n\r\n--xyz"]),
    purpose=st.text(alphabet=st.characters(exclude_categories=["C"]), max_size=20),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    file_first=st.booleans(),
)
def test_any_bytes_cut_anywhere(tmp_path: Path, content: bytes, purpose: str, cuts: list[int], file_first: bool) -> None:
    if b"\r\n--xyz" in b"\r\n" + content:
        return  # a boundary: no client writes one into its file
    parts = [part("purpose", purpose.encode()), part("file", content, "a.bin")]
    form, kept = read(tmp_path, form_of(*(reversed(parts) if file_first else parts)), cuts)
    assert (form.fields, form.filename, kept) == ({"purpose": purpose}, "a.bin", content)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "breaks off"),
        (form_of(part("file", b"x", "a"))[:-6], "breaks off"),
        (form_of(part("purpose", b"x")), "'file' is missing"),
        (form_of(part("file", b"x", "a"), part("file", b"y", "b")), "more than one"),
        (form_of(*[part(f"f{n}", b"") for n in range(MAX_PARTS + 1)]), "more than 64 parts"),
        (form_of(part("purpose", b"x" * (MAX_FIELD_BYTES + 1))), "has more than"),
        (b"no form at all", "cannot be read"),
        (b"--xyz\r\n" + b"X: y\r\n" * 1000, "cannot be read"),
        (b"--xyz\r\nContent-Disposition: " + b"y" * 10**6, "cannot be read"),
    ],
)
def test_what_is_no_form_is_refused_and_leaves_nothing(tmp_path: Path, body: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, body)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / ".lock"]


@pytest.mark.parametrize("kind", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 3000])
def test_the_content_type_must_say_the_boundary(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="boundary"):
        read(tmp_path, b"", kind=kind)


def test_a_file_over_its_limit(tmp_path: Path) -> None:
    assert read(tmp_path, form_of(part("file", b"x" * 100, "a")), limit=100)[1] == b"x" * 100
    with pytest.raises(BodyTooLargeError, match="'file' has more than 99 bytes"):
        read(tmp_path, form_of(part("file", b"x" * 100, "a")), limit=99)


def test_names_come_as_they_are(tmp_path: Path) -> None:
    assert read(tmp_path, form_of(part("file", b"", "银行.jsonl")))[0].filename == "银行.jsonl"
    assert read(tmp_path, form_of(part("file", b"")))[0].filename == "upload"


def test_brackets_are_objects() -> None:
    assert nested({"a[b]": "1", "a[c]": "2", "d": "3", "e[": "4"}) == {"a": {"b": "1", "c": "2"}, "d": "3", "e[": "4"}
    assert nested({"a": "1", "a[b]": "2"}) == {"a": "1"}
