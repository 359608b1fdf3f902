"""What every reader promises: each line becomes a row or is put aside with its number and reason, whatever the bytes."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse.errors import FormatError, NotFoundError, UsageError
from stillhouse.formats import FORMATS, format_of
from stillhouse.formats.base import Format, Quarantined, Row, read_lines

QUESTION = {"role": "user", "content": "Where is my card?"}
GOOD = orjson.dumps({"messages": [QUESTION, {"role": "assistant", "content": "In the post."}]})


def read(name: str, path: Path, content: bytes, encoding: str = "utf-8") -> list[Row | Quarantined]:
    path.write_bytes(content)
    kind: Format = FORMATS.resolve(name)()
    return list(kind.read(path, encoding=encoding))


def parts(found: list[Row | Quarantined]) -> tuple[list[Row], list[Quarantined]]:
    return [item for item in found if isinstance(item, Row)], [item for item in found if isinstance(item, Quarantined)]


def chat(*messages: object, **beside: object) -> bytes:
    return orjson.dumps({"messages": list(messages), **beside})


BAD_LINES = [
    (b"", "an empty line"),
    (b"{", "not valid JSON"),
    (b"[1]", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b"\xff\xfe", "not valid utf-8"),
    (b'{"prompt": "x"}', "'messages' is missing"),
    (chat(), "'messages' is missing or empty"),
    (chat(7), "message 1 is a number"),
    (chat({"role": "wizard", "content": "x"}), "the role 'wizard'"),
    (chat({"role": "user", "content": 7}), "a content that is a number"),
    (chat({"role": "user", "content": ["x"]}), "content parts that are not objects"),
    (chat({"role": "user", "content": " "}, {"role": "assistant", "content": "x"}), "message 1 is empty"),
    (chat(QUESTION), "ends with a message of role 'user'"),
    (chat({"role": "assistant", "content": "x"}), "no question before the answer"),
    (chat({"role": "system", "content": "s"}, {"role": "assistant", "content": "x"}), "no question before the answer"),
    (chat(QUESTION, {"role": "assistant", "content": ""}), "its answer is empty"),
    (chat(QUESTION, {"role": "assistant", "content": None, "tool_calls": [{}]}), "its answer is a tool call"),
    (chat(QUESTION, {"role": "assistant", "content": "x", "weight": 0.5}), "the answer's weight is 0.5"),
    (chat(QUESTION, {"role": "assistant", "content": "x"}, tools="hammer"), "'tools' is not a list"),
    (chat(QUESTION, {"role": "assistant", "content": "a\0b"}), "a NUL character"),
    (b'{"messages": [{"role": "user", "content": "\\ud83d"}]}', "not valid JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_bad_chat_line_is_put_aside_and_its_neighbours_are_kept(tmp_path: Path, line: bytes, reason: str) -> None:
    rows, aside = parts(read("openai_jsonl", tmp_path / "f", GOOD + b"\n" + line + b"\r\n" + GOOD))
    assert [row.line for row in rows] == [1, 3]
    assert [(item.line, reason in item.reason) for item in aside] == [(2, True)], aside


def test_a_huge_line_is_put_aside_without_being_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"short\n" + b"x" * 1000 + b"\n" + b"y" * 100 + b"\nlast")
    lines = list(read_lines(path, limit=100))
    assert [(line.number, line.content[:5], line.too_long) for line in lines] == [
        (1, b"short", False),
        (2, b"xxxxx", True),
        (3, b"yyyyy", False),
        (4, b"last", False),
    ]
    assert len(lines[1].content) == 100


@given(content=st.binary(max_size=300) | st.lists(st.sampled_from([GOOD, *[line for line, _ in BAD_LINES]])).map(b"\n".join))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_imported_and_quarantined_make_the_lines_of_a_chat_file(tmp_path: Path, content: bytes) -> None:
    found = read("openai_jsonl", tmp_path / "f", content)
    lines = content.split(b"\n")
    assert [item.line for item in found] == list(range(1, len(lines) + (lines[-1] != b"")))


CELL = st.text(st.sampled_from('ab ,"\n\r\t\0é\ud800'), max_size=6)


@given(st.lists(st.lists(CELL, max_size=3).map(",".join)).map("\n".join))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_physical_line_of_a_csv_belongs_to_one_row_or_is_put_aside(tmp_path: Path, body: str) -> None:
    content = b"text,category\n" + body.encode("utf-8", "surrogatepass")
    found = read("csv", tmp_path / "f", content)
    starts = [item.line for item in found]
    assert starts == sorted(set(starts)), "no line is read twice"
    if body:
        assert starts[0] == 2, "none is skipped at the start"
    rows, _ = parts(found)
    for row in rows:
        assert row.answer.strip() and row.messages[0]["content"].strip()


def test_csv_says_the_line_and_the_reason(tmp_path: Path) -> None:
    content = (
        b"text,category,channel\n"  # 1
        b'"one, and\ntwo",a,app\n'  # 2-3
        b"only two fields,b\n"  # 4
        b",c,app\n"  # 5
        b"no category,,app\n"  # 6
        b"\n"  # 7
        b"\xff,d,app\n"  # 8
        b"nul\0,d,app\n"  # 9
        b'"never closed,e,app\n'  # 10
        b"still read,f,\n"  # 11
    )
    rows, aside = parts(read("csv", tmp_path / "f.csv", content))
    assert [(row.line, row.messages[0]["content"], row.answer, row.metadata) for row in rows] == [
        (2, "one, and\ntwo", "a", {"channel": "app"}),
        (11, "still read", "f", {}),
    ]
    assert [(item.line, item.reason) for item in aside] == [
        (4, "2 fields, the header has 3"),
        (5, "'text' is empty"),
        (6, "'category' is empty"),
        (7, "an empty line"),
        (8, "not valid utf-8; a file from Excel in Chinese is read with --encoding gb18030"),
        (9, "it holds a NUL character"),
        (10, "a quote is opened and never closed"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"text;category\nmy card, lost;card\n",
        b'\xef\xbb\xbf"text";"category"\r\n"my card, lost";card\r\n',
        b"text\tcategory\nmy card, lost\tcard\n",
        b"sep=;\r\ntext;category\r\nmy card, lost;card\r\n",
        b"sep=|\ntext|category\nmy card, lost|card\n",
    ],
)
def test_tables_of_spreadsheets_have_other_separators(tmp_path: Path, content: bytes) -> None:
    [row], aside = parts(read("csv", tmp_path / "f.csv", content))
    assert (row.messages[0]["content"], row.answer, aside) == ("my card, lost", "card", [])


@pytest.mark.parametrize(("encoding", "content"), [("utf-8", "utf-8"), ("utf-8", "utf-8-sig"), ("gb18030", "gb18030")])
def test_csv_reads_chinese_in_the_encodings_people_have(tmp_path: Path, encoding: str, content: str) -> None:
    rows, aside = parts(read("csv", tmp_path / "f.csv", "text,category\n我的卡在哪里?,卡\n".encode(content), encoding))
    assert not aside
    assert (rows[0].messages, rows[0].answer) == ([{"role": "user", "content": "我的卡在哪里?"}], "卡")


def test_a_file_that_cannot_be_read_as_a_whole_says_so(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="`text,category`; got \\['question', 'label'\\]"):
        read("csv", tmp_path / "f.csv", b"question,label\nx,y\n")
    with pytest.raises(FormatError, match="is empty"):
        read("csv", tmp_path / "f.csv", b"")
    with pytest.raises(FormatError, match="not a whole Parquet file"):
        read("parquet", tmp_path / "f.parquet", b"PAR1 and then nothing")
    with pytest.raises(UsageError, match="'utf-16' cannot be read here"):
        read("csv", tmp_path / "f.csv", b"text,category\n", "utf-16")
    for name in FORMATS.names():
        with pytest.raises(NotFoundError, match="There is no file"):
            list(FORMATS.resolve(name)().read(tmp_path / "absent"))


def test_the_format_is_told_by_the_name(tmp_path: Path) -> None:
    assert [format_of(tmp_path / name) for name in ("a.CSV", "a.jsonl", "a.parquet")] == ["csv", "openai_jsonl", "parquet"]
    with pytest.raises(FormatError, match="--format"):
        format_of(tmp_path / "a.xlsx")


@pytest.mark.parametrize("metadata", [["a"], 3, [("task", "why")]])
def test_parquet_metadata_that_is_no_object_puts_its_row_aside(tmp_path: Path, metadata: object) -> None:
    import pyarrow
    import pyarrow.parquet

    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string()) if isinstance(metadata, list) and metadata[0] != "a" else None
    column = pyarrow.array([metadata, None], type=kind)
    pyarrow.parquet.write_table(pyarrow.table({"messages": [chat, chat], "metadata": column}), tmp_path / "f.parquet")
    rows, aside = parts(list(FORMATS.resolve("parquet")().read(tmp_path / "f.parquet")))
    assert [row.line for row in rows] == [2]
    assert [(item.line, item.reason) for item in aside] == [(1, "'metadata' is not an object of texts")]


def test_parquet_metadata_without_a_value_has_no_key(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    table = pyarrow.table({"messages": [chat, chat], "metadata": [{"task": "why"}, {"other": "x"}]})
    pyarrow.parquet.write_table(table, tmp_path / "f.parquet")
    rows, _ = parts(list(FORMATS.resolve("parquet")().read(tmp_path / "f.parquet")))
    assert [row.metadata for row in rows] == [{"task": "why"}, {"other": "x"}]
