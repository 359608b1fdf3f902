"""Questions without answers become rows, one by one accounted for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import NotFoundError, UsageError
from stillhouse.formats.base import Quarantined, Row
from stillhouse.jobs.questions import find_questions, read_questions
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace


@given(content=st.binary(max_size=300), suffix=st.sampled_from([".txt", ".jsonl"]))
def test_every_line_is_a_question_or_put_aside(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"q{suffix}"
        path.write_bytes(content)
        found = list(read_questions(path))
    lines = content.count(b"\n") + (0 if not content or content.endswith(b"\n") else 1)
    assert [each.line for each in found] == list(range(1, lines + 1))
    assert all(isinstance(each, Row | Quarantined) for each in found)


def test_tools_and_metadata_of_a_chat_come_along(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    chat = {"messages": [{"role": "user", "content": "2 + 2?"}], "tools": tools, "metadata": {"task": "sums", "n": 1}}
    path.write_bytes(orjson.dumps(chat) + b"\n" + orjson.dumps({**chat, "tools": "add"}))
    row, refused = read_questions(path)
    assert isinstance(row, Row) and isinstance(refused, Quarantined)
    assert (row.tools, row.metadata, row.answer) == (tools, {"task": "sums"}, "")
    assert "'tools' is not a list" in refused.reason


def test_a_chat_may_end_with_the_question_or_with_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    user = {"role": "user", "content": "2 + 2?"}
    chats = [[user], [user, {"role": "assistant", "content": "4"}], [], [{"role": "user", "content": " "}]]
    path.write_bytes(b"\n".join(orjson.dumps({"messages": chat}) for chat in chats))
    rows = list(read_questions(path))
    assert [row.answer if isinstance(row, Row) else None for row in rows] == ["", "4", None, None]
    assert [row.messages for row in rows if isinstance(row, Row)] == [[user], [user]]


def test_texts_of_a_table_or_of_objects_need_no_answers(tmp_path: Path) -> None:
    table, objects = tmp_path / "q.csv", tmp_path / "q.jsonl"
    table.write_text("id,Body,category\n1,a chair,seat\n2,a lamp,\n3,,x\n")
    rows = list(read_questions(table, "body"))
    assert [(row.answer, row.reference, row.metadata) if isinstance(row, Row) else None for row in rows] == [
        ("seat", "seat", {"id": "1"}),
        ("", None, {"id": "2"}),
        None,
    ]
    table.write_text("whatever it is called\nis the one\n")
    assert [row.messages[0]["content"] if isinstance(row, Row) else None for row in read_questions(table)] == ["is the one"]
    objects.write_text('{"text": "a chair", "id": 1}\n{"text": ""}\n{"other": "x"}\n[]\n"text"\n')
    assert [isinstance(row, Row) for row in read_questions(objects)] == [True, False, False, False, False]


def test_a_source_that_is_neither_file_nor_dataset_is_named(tmp_path: Path) -> None:
    workspace = Workspace(Settings(data_dir=tmp_path))
    with pytest.raises(UsageError, match=r"no file absent\.txt"):
        find_questions(workspace, "absent.txt")
    with pytest.raises(NotFoundError, match="no dataset 'absent'"):
        find_questions(workspace, "absent")
    workspace.close()
