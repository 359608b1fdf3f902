"""Checks by purpose and by method: every line counted, the wrong ones named, the rows of a method found."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse.errors import UsageError
from stillhouse.filing import METHODS, check_file, check_training, checking, training_rows
from stillhouse.filing.checking import check_apart
from stillhouse.formats.base import Quarantined, Row
from stillhouse.formats.openai_reinforcement import Prompt

ASK = {"role": "user", "content": "Q"}
SAY = {"role": "assistant", "content": "A"}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}
CHAT = {"messages": [ASK, SAY]}
PAIR = {"input": {"messages": [ASK]}, "preferred_output": [SAY], "non_preferred_output": [{**SAY, "content": "B"}]}
PROMPT = {"messages": [ASK], "answer": 7}

GOOD = [CHAT, PAIR, PROMPT, {"messages": [ASK, CALL], "tools": [{"type": "function"}]},
        {"messages": [ASK, {**SAY, "weight": 0}, ASK, {**SAY, "weight": 1}]}]  # fmt: skip
BAD = [
    ([], "not a JSON object"),
    ({"prompt": "a", "completion": "b"}, "'messages' is missing"),
    ({"messages": [ASK, {**SAY, "weight": 2}]}, "the weight 2"),
    ({"messages": [ASK, {**SAY, "weight": True}]}, "the weight True"),
    ({"messages": [ASK, {"role": "assistant", "content": ""}]}, "its answer is empty"),
    ({**CHAT, "tools": "hammer"}, "'tools' is not a list"),
    ({**PAIR, "preferred_output": []}, "'preferred_output' is not a list of one message"),
]


def written(path: Path, *rows: object) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_a_training_line_passes_that_any_method_reads(tmp_path: Path) -> None:
    verdict = check_file(written(tmp_path / "f", *GOOD), "fine-tune")
    assert verdict is not None and (verdict.lines, verdict.wrong, verdict.details) == (5, 0, None)


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_any_other_is_named(tmp_path: Path, row: object, reason: str) -> None:
    verdict = check_file(written(tmp_path / "f", CHAT, row), "fine-tune")
    assert verdict is not None and verdict.details is not None
    assert verdict.details.startswith("1 of 2 lines cannot be used: line 2: ") and reason in verdict.details


def test_only_the_first_wrong_lines_are_told(tmp_path: Path) -> None:
    verdict = check_file(written(tmp_path / "f", *[{}] * 9), "evals")
    assert verdict is not None and verdict.details is not None
    assert "line 5:" in verdict.details and "line 6:" not in verdict.details and "and 4 more" in verdict.details


def test_a_large_file_is_checked_apart_with_the_same_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "f", *GOOD, *(row for row, _ in BAD))
    monkeypatch.setattr(checking, "APART_BYTES", 10)
    apart = check_apart(path, "fine-tune")
    assert apart == check_file(path, "fine-tune") and apart is not None and apart.wrong == len(BAD)
    assert check_apart(path, "vision") is None


def test_an_empty_file_is_of_no_use_where_lines_are_read(tmp_path: Path) -> None:
    for purpose in ("fine-tune", "evals", "batch"):
        verdict = check_file(written(tmp_path / "f"), purpose)
        assert verdict is not None and "empty" in str(verdict.details)
    for purpose in ("assistants", "vision", "user_data", "batch_output"):
        assert check_file(tmp_path / "f", purpose) is None


def test_each_method_finds_its_rows_and_puts_the_others_aside(tmp_path: Path) -> None:
    path = written(tmp_path / "f", CHAT, PAIR, PROMPT)
    found = {method: [type(row) for row in training_rows(path, method)] for method in METHODS}
    assert found == {
        "supervised": [Row, Quarantined, Quarantined],
        "dpo": [Quarantined, Row, Quarantined],
        "reinforcement": [Quarantined, Quarantined, Prompt],
    }
    assert check_training(path, "dpo").wrong == 2
    (prompt,) = (row for row in training_rows(path, "reinforcement") if isinstance(row, Prompt))
    assert prompt.item == PROMPT and prompt.messages == [ASK] and prompt.line == 3
    with pytest.raises(UsageError, match="supervised, dpo, reinforcement"):
        check_training(path, "magic")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.binary(max_size=300) | st.lists(st.sampled_from([*GOOD, *(row for row, _ in BAD)])).map(
    lambda rows: b"\n".join(orjson.dumps(row) for row in rows)
))  # fmt: skip
def test_every_line_counts_whatever_the_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    lines = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    for purpose in ("fine-tune", "evals", "batch"):
        verdict = check_file(tmp_path / "f", purpose)
        assert verdict is not None and verdict.lines == lines >= verdict.wrong
    for method in METHODS:
        assert check_training(tmp_path / "f", method).lines == lines
