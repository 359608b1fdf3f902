"""`stillhouse label`, against a teacher in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Stillhouse
from tests.fakes.server import add_upstream
from tests.fakes.teacher import TeacherProcess

TOPICS = ("harbour", "glacier", "violin", "pepper", "monsoon", "lantern")


@pytest.fixture
def teacher(data_dir: Path) -> Iterator[TeacherProcess]:
    with TeacherProcess("--low", "0.001", "--high", "0.01") as process:
        add_upstream(data_dir, process.url, "gpt-4o")
        yield process


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    path.write_text("\n".join(f"what is a {topic} made for?" for topic in TOPICS))
    return path


def test_a_budget_ends_it_and_a_larger_one_goes_on(stillhouse: Stillhouse, questions: Path, teacher: TeacherProcess) -> None:
    words = ["label", questions, "--model", "gpt-4o", "--out", "topics", "--json", "--max-tokens", "200"]
    found = stillhouse(*words, "--estimate").json
    assert (found["questions"], found["requests"], found["answered"], found["answer_tokens_most"]) == (6, 6, 0, 1200)
    assert teacher.ledger()["came"] == 0

    first = stillhouse(*words, "--budget-calls", "4")
    assert first.code == 0, first.err
    assert "2 are not asked: the budget is spent" in first.err
    assert first.json["labelling"]["unasked"] == 2
    assert first.json["labelling"]["spent"] == {"calls": 4, "tokens": 480, "cost": pytest.approx(0.0042)}
    assert sum(first.json["counts"].values()) == 4
    assert teacher.ledger()["came"] == 4
    assert stillhouse(*words, "--estimate").json["requests"] == 2

    whole = stillhouse(*words)
    assert sum(whole.json["counts"].values()) == teacher.ledger()["came"] == 6
    assert whole.json["removed"] == {}
    events = stillhouse("train", "logs", whole.json["labelling"]["run"], "--json").json["events"]
    assert events[-2]["metrics"]["label/done"] == 6


def test_several_answers_to_each_question(stillhouse: Stillhouse, questions: Path, teacher: TeacherProcess) -> None:
    words = ["label", "run", questions, "--model", "gpt-4o", "--out", "many", "--samples", "3", "--seed", "5", "--json"]
    made = stillhouse(*words).json
    assert teacher.ledger()["came"] == 18
    assert made["removed"] == {"exact duplicate": 12}, "this teacher says the same again"


def test_dead_letters_are_listed_and_asked_again(stillhouse: Stillhouse, questions: Path, data_dir: Path) -> None:
    with TeacherProcess("--low", "0.001", "--high", "0.01", "--fail", TOPICS[1]) as teacher:
        add_upstream(data_dir, teacher.url, "gpt-4o")
        made = stillhouse("label", questions, "--model", "gpt-4o", "--out", "topics", "--json")
        assert made.json["removed"] == {"no answer: refused": 1}, made.err
        assert "stillhouse label retry" in made.err
        (dead,) = stillhouse("label", "dead", "topics", "--json").json
        assert (dead["source"], dead["reason"], dead["attempts"]) == ("file:questions.txt:2", "no answer: refused", 1)
        assert "answered 422" in dead["detail"]
        teacher.mend()
        again = stillhouse("label", "retry", made.json["labelling"]["run"], "--json")
        assert sum(again.json["counts"].values()) == 6, again.err
        assert teacher.ledger()["came"] == 7
        assert stillhouse("label", "dead", "topics", "--json").json == []


def test_what_cannot_be_done_is_said_before_anything_is_asked(
    stillhouse: Stillhouse, questions: Path, teacher: TeacherProcess
) -> None:
    words = ["label", questions, "--model", "gpt-4o", "--out", "topics"]
    assert "--max-tokens" in stillhouse(*words, "--budget-tokens", "100").err
    assert stillhouse("label", "dead", "nothing").code == 5
    assert stillhouse("label", "absent.txt", "--model", "gpt-4o", "--out", "x").code == 2
    assert teacher.ledger()["came"] == 0
