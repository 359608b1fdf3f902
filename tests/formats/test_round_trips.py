"""What is written comes back: every format, every field it promises to hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse.curation.collect import example_of
from stillhouse.dataset import Dataset, Example, Split
from stillhouse.errors import ConflictError, UsageError
from stillhouse.formats import FORMATS
from stillhouse.formats.base import Quarantined, Row
from stillhouse.formats.export import export_dataset

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
CHAT = st.builds(
    lambda system, question, answer, weight: Example(
        id="e",
        messages=[*({"role": "system", "content": text} for text in system), {"role": "user", "content": question}],
        answer=answer,
        weight=weight,
    ),
    st.lists(TEXT, max_size=1),
    TEXT | st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXT), min_size=1, max_size=2),
    TEXT,
    st.sampled_from([0.0, 1.0]),
)


def there_and_back(name: str, examples: Sequence[Example], folder: Path) -> list[Row]:
    path = folder / "file"
    kind = FORMATS.resolve(name)()
    assert kind.write(examples, path) == len(examples)
    rows = list(kind.read(path))
    assert all(isinstance(row, Row) for row in rows), rows
    return rows


def core(item: Example | Row) -> dict[str, Any]:
    return {"messages": item.messages, "answer": item.answer, "weight": item.weight, "tools": item.tools}


@pytest.mark.parametrize("name", ["openai_jsonl", "parquet"])
@given(examples=st.lists(CHAT, max_size=4))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_conversations_come_back(name: str, tmp_path: Path, examples: list[Example]) -> None:
    assert [core(row) for row in there_and_back(name, examples, tmp_path)] == [core(example) for example in examples]


@given(st.lists(st.tuples(TEXT, TEXT.map(str.strip).filter(bool)), max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_labelled_texts_come_back(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    examples = [Example(id="e", messages=[{"role": "user", "content": text}], answer=label) for text, label in pairs]
    rows = there_and_back("csv", examples, tmp_path)
    assert [(row.messages[0]["content"], row.answer) for row in rows] == pairs


@given(st.lists(st.tuples(TEXT, TEXT), max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_prompts_and_completions_come_back_to_the_character(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    examples = [Example(id="e", messages=[{"role": "user", "content": text}], answer=answer) for text, answer in pairs]
    rows = there_and_back("prompt_completion", examples, tmp_path)
    assert [(row.messages[0]["content"], row.answer) for row in rows] == pairs


RICH = Example(
    id="e",
    messages=[
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "look"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "a cat"},
    ],
    answer="A cat.",
    reference="cat",
    weight=0.25,
    metadata={"task": "pets"},
    tools=[{"type": "function", "function": {"name": "look"}}],
)


def test_parquet_keeps_everything_of_an_example(tmp_path: Path) -> None:
    (row,) = there_and_back("parquet", [RICH], tmp_path)
    assert core(row) == core(RICH)
    assert (row.reference, row.metadata) == ("cat", {"task": "pets"})


@pytest.mark.parametrize("name", ["openai_preference", "parquet"])
def test_pairs_of_answers_come_back(name: str, tmp_path: Path) -> None:
    pair = RICH.model_copy(update={"rejected": "A dog.", "weight": 1.0})
    (row,) = there_and_back(name, [pair], tmp_path)
    assert (core(row), row.rejected) == (core(pair), "A dog.")
    assert example_of(row, source="file:x:1").rejected == "A dog."


def test_a_file_of_pairs_holds_no_example_without_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no worse answer"):
        FORMATS.resolve("openai_preference")().write([RICH], tmp_path / "file")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{}", "'input'"),
        (b'{"input": {"messages": 1}}', "no list of messages"),
        (b'{"input": {"messages": [], "tools": 1}}', "'tools'"),
        (b'{"input": {"messages": [{"role": "user", "content": "a"}]}, "preferred_output": []}', "'non_preferred_output' is not"),
        (b"\n", "an empty line"),
        (b"\xff", "not valid utf-8"),
        (b"{", "not valid JSON"),
    ],
)
def test_a_line_that_is_no_pair_is_put_aside(tmp_path: Path, line: bytes, reason: str) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(line)
    [row] = FORMATS.resolve("openai_preference")().read(tmp_path / "pairs.jsonl")
    assert isinstance(row, Quarantined)
    assert reason in row.reason


def test_a_pair_among_chats_says_how_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_bytes(b'{"input": {}, "preferred_output": []}')
    [row] = FORMATS.resolve("openai_jsonl")().read(tmp_path / "chats.jsonl")
    assert isinstance(row, Quarantined)
    assert "--format openai_preference" in row.reason


def test_a_chat_file_holds_nothing_that_is_not_openais(tmp_path: Path) -> None:
    FORMATS.resolve("openai_jsonl")().write([RICH], tmp_path / "f")
    line = orjson.loads((tmp_path / "f").read_bytes())
    assert set(line) == {"messages", "tools"}
    assert line["messages"][-1] == {"role": "assistant", "content": "A cat."}


def test_csv_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Use openai_jsonl or parquet"):
        FORMATS.resolve("csv")().write([RICH], tmp_path / "f")


def test_prompts_and_completions_refuse_what_they_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Use openai_jsonl or parquet"):
        FORMATS.resolve("prompt_completion")().write([RICH], tmp_path / "f")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{}", "'prompt' is missing"),
        (b'{"prompt": "a", "completion": 1}', "'completion' is missing or no text"),
        (b'{"prompt": "a", "completion": " "}', "its answer is empty"),
        (b"[]", "not a JSON object"),
        (b"{", "not valid JSON"),
    ],
)
def test_a_line_that_is_no_prompt_and_completion_is_put_aside(tmp_path: Path, line: bytes, reason: str) -> None:
    (tmp_path / "lines.jsonl").write_bytes(line)
    [row] = FORMATS.resolve("prompt_completion")().read(tmp_path / "lines.jsonl")
    assert isinstance(row, Quarantined)
    assert reason in row.reason


def test_csv_for_excel_starts_with_a_byte_order_mark_and_reads_back(tmp_path: Path) -> None:
    example = Example(id="e", messages=[{"role": "user", "content": "我的卡"}], answer="卡", metadata={"channel": "app"})
    kind = FORMATS.resolve("csv")(bom=True)
    kind.write([example], tmp_path / "f")
    assert (tmp_path / "f").read_bytes().startswith(b"\xef\xbb\xbftext,category,channel\r\n")
    (row,) = kind.read(tmp_path / "f")
    assert (row.answer, row.metadata) == ("卡", {"channel": "app"})


def a_dataset() -> Dataset:
    return Dataset(
        name="pets",
        fingerprint="sha256:0",
        created=0,
        counts={"train": 1, "valid": 0, "test": 1},
        files={},
        hashes={},
        teachers={"gpt-4o": 2},
        may_train={"openai": "no: terms of service"},
    )


def test_an_export_is_a_folder_with_hashes_and_a_card(tmp_path: Path) -> None:
    rows: dict[Split, list[Example]] = {"train": [RICH], "valid": [], "test": [RICH]}
    manifest = export_dataset(a_dataset(), rows, FORMATS.resolve("parquet")(), tmp_path / "out", name="parquet")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()) == [
        "README.md",
        "data/test-00000-of-00001.parquet",
        "data/train-00000-of-00001.parquet",
        "manifest.json",
    ]
    assert set(manifest["files"]) == {"data/test-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"}
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "- split: train\n        path: data/train-*.parquet" in card
    assert "openai: no: terms of service" in card
    with pytest.raises(ConflictError):
        export_dataset(a_dataset(), {}, FORMATS.resolve("csv")(), tmp_path / "out", name="csv")


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        export_dataset(a_dataset(), {"train": [RICH]}, FORMATS.resolve("csv")(), tmp_path / "out", name="csv")
    assert list(tmp_path.iterdir()) == []
