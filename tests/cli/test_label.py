"""`stillhouse label`, against a teacher in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.cli.conftest import Stillhouse
from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.teacher import TeacherProcess
from tests.jobs.conftest import kill, until

pytestmark = pytest.mark.usefixtures("forked_workers")

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


def test_a_batch_at_another_server_is_collected_by_the_next_go_when_its_own_was_killed(
    stillhouse: Stillhouse, questions: Path, data_dir: Path, tmp_path: Path
) -> None:
    provider = tmp_path / "provider"
    with TeacherProcess("--low", "0.3", "--high", "0.5") as teacher:
        add_upstream(provider, teacher.url, "gpt-4o")
        with LiveServer(provider) as server:
            add_upstream(data_dir, server.url, "gpt-4o")
            words = ["label", questions, "--model", "gpt-4o", "--out", "topics", "--batch", "--json"]
            begun = stillhouse(*words, "--detach")
            assert begun.code == 0, begun.err
            ledgers = data_dir / "labels"
            until(lambda: any(b'"id":"batch' in each.read_bytes() for each in ledgers.glob("*.jsonl")), lambda: "a batch")
            store = open_store(Settings(data_dir=data_dir))
            run = store.run(begun.json["id"])
            store.close()
            assert run is not None
            kill(run.pid)
            whole = stillhouse(*words)
            assert whole.code == 0, whole.err
            served = teacher.ledger()
        store = open_store(Settings(data_dir=provider))
        batches = store.runs("batch")
        store.close()
    assert sum(whole.json["counts"].values()) == 6
    assert whole.json["labelling"]["spent"]["calls"] == 6
    assert (served["came"], served["prompts"], len(batches)) == (6, 6, 1)


@pytest.mark.parametrize("method", ["self-instruct", "evolve"])
def test_more_questions_of_a_seed_set(
    stillhouse: Stillhouse, questions: Path, data_dir: Path, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "more.jsonl"
    words = ["label", "prompts", questions, "--model", "gpt-4o", "--out", out, "--count", "20", "--method", method, "--json"]
    with TeacherProcess("--low", "0.001", "--high", "0.01", "--novel") as teacher:
        add_upstream(data_dir, teacher.url, "gpt-4o")
        short = stillhouse(*words, "--budget-calls", "1")
        assert short.json["out_of_budget"] and "the budget is spent" in short.err
        assert stillhouse(*words).code == 2, "it would be written over"
        out.unlink()
        made = stillhouse(*words)
        assert (made.code, made.json["made"], made.json["out_of_budget"]) == (0, 20, False), made.err
        assert teacher.ledger()["came"] == made.json["standing"]["spent"]["calls"]
        asked = [json.loads(line)["messages"][0]["content"] for line in out.read_text().splitlines()]
        assert len(set(asked)) == 20
        estimate = stillhouse("label", out, "--model", "gpt-4o", "--out", "more", "--estimate", "--json")
    assert estimate.json["questions"] == 20, "`label` reads what `prompts` makes"
