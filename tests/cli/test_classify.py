"""`stillhouse label classify`: from a file of texts without labels to a student, in two commands."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.cli.main import main
from stillhouse.formats.examples import read_examples
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.cli.conftest import Stillhouse
from tests.fakes.classifier import Classifier
from tests.fakes.server import add_upstream
from tests.jobs.conftest import kill

pytestmark = pytest.mark.usefixtures("forked_workers")

RECIPE = Path(__file__).parent.parent.parent / "recipes" / "linear.toml"
GOOD, BAD = ("great", "lovely", "superb"), ("awful", "dreadful", "broken")
THINGS = ("kettle", "boat", "lamp", "violin", "coat", "mirror", "ladder", "basket", "candle", "carpet")
TEXTS = [f"{word} {thing}, number {n}" for n, thing in enumerate(THINGS * 2) for word in (GOOD[n % 3], BAD[n % 3])]
FUNCTIONS = """
[[function]]
type = "keyword"
name = "praise"
label = "positive"
any = ["great", "lovely", "superb"]

[[function]]
type = "regex"
name = "blame"
label = "negative"
pattern = "awful|dreadful"
"""


def mood(text: str, request: dict[str, Any]) -> str:
    """In JSON where that is asked for."""
    label = "positive" if text.split()[0] in GOOD else "negative"
    return json.dumps({"label": label}) if "response_format" in request else f"It is {label.upper()}."


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("id,text\n" + "".join(f'{n},"{text}"\n' for n, text in enumerate(TEXTS)), encoding="utf-8")
    return path


@pytest.fixture
def teacher(data_dir: Path) -> Iterator[Classifier]:
    with Classifier(mood) as teacher:
        add_upstream(data_dir, teacher.url, "gpt-4o")
        yield teacher


def test_two_commands_from_unlabelled_texts_to_a_student(
    stillhouse: Stillhouse, texts: Path, teacher: Classifier, tmp_path: Path, data_dir: Path
) -> None:
    functions = tmp_path / "functions.toml"
    functions.write_text(FUNCTIONS)
    words = [
        "label",
        "classify",
        texts,
        "--labels",
        "positive,negative",
        "--teacher",
        "gpt-4o",
        "--near-duplicates",
        "off",
        "--json",
    ]
    made = stillhouse(*words, "--functions", functions, "--out", "mood")
    assert made.code == 0, made.err
    report = made.json["report"]
    assert (report["labelled"], report["how"], report["labels"]) == (40, "one-coin", {"positive": 20, "negative": 20})
    assert [(voter["name"], voter["votes"], voter["agreement"]) for voter in report["voters"]] == [
        ("gpt-4o", 40, 1.0),
        ("praise", 20, 1.0),
        ("blame", 14, 1.0),
    ]
    request = teacher.asked[0]
    assert request["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == ["positive", "negative"]
    assert "- negative" in request["messages"][0]["content"] and request["messages"][1]["content"] in TEXTS
    assert len(teacher.asked) == 40

    distilled = stillhouse("distill", RECIPE, "--dataset", "mood", "--json")
    assert distilled.code == 0, distilled.err
    assert distilled.json["model"]["kind"] == "linear"
    assert distilled.json["dataset"]["teachers"] == {"gpt-4o": 40}

    again = stillhouse(*words, "--out", "mood-2", "--targets", "hard")
    assert again.json["report"]["how"] == "vote", again.err
    assert len(teacher.asked) == 40, "nobody is asked twice"


def test_who_refuses_response_format_is_asked_in_words_and_how_sure_it_is_decides(
    stillhouse: Stillhouse, texts: Path, data_dir: Path, tmp_path: Path
) -> None:
    def unsure(text: str, request: dict[str, Any]) -> str:
        return "who knows" if "boat" in text else mood(text, request)

    left = tmp_path / "left.jsonl"
    with Classifier(unsure, logprob=-0.25, constrained=False) as teacher:
        add_upstream(data_dir, teacher.url, "small")
        words = ["label", "classify", texts, "--labels", "positive,negative", "--teacher", "small", "--logprobs", "5"]
        words += ["--near-duplicates", "off", "--left-out", left, "--json"]
        made = stillhouse(*words, "--out", "mood", "--targets", "soft")
        assert made.code == 0, made.err
        assert len(teacher.asked) == 41, "once in vain"
        assert made.json["report"]["mean_confidence"] == pytest.approx(0.7788, abs=1e-4)
        (voter,) = made.json["report"]["voters"]
        assert voter["rules"] == {"contained": 36}
        assert made.json["report"]["left_out"] == {"its answer is none of the labels": 4}
        dead = [json.loads(line) for line in left.read_text().splitlines()]
        assert {"boat" in each["text"] and each["votes"]["small"] is None for each in dead} == {True}

        fingerprint = made.json["dataset"]["fingerprint"].removeprefix("sha256:")
        train = read_examples(data_dir / "datasets" / fingerprint, "train")
        weights: dict[str, dict[str, float]] = {}
        for example in train:
            weights.setdefault(example.source or "", {})[example.answer] = example.weight
        assert all(sorted(each.values()) == pytest.approx([0.2212, 0.7788], abs=1e-4) for each in weights.values())

        none = stillhouse(*words, "--out", "none", "--abstain-below", "0.9")
        assert none.code == 2 and "No example is left" in none.err
        assert len(teacher.asked) == 42, "what was refused is tried again, what was answered is not"


def test_what_cannot_be_done_is_said_before_anything_is_asked(stillhouse: Stillhouse, texts: Path, teacher: Classifier) -> None:
    words = ["label", "classify", texts, "--out", "mood"]
    both = ["--labels", "a,b"]
    assert "Nobody votes" in stillhouse(*words, *both).err
    assert "Nothing tells how sure" in stillhouse(*words, *both, "--teacher", "gpt-4o", "--abstain-below", "0.5").err
    assert "Two voters" in stillhouse(*words, *both, "--teacher", "gpt-4o", "--teacher", "gpt-4o").err
    assert "no such teacher" in stillhouse(*words, *both, "--teacher", "gpt-4o", "--weight", "x=2").err
    assert "--weight is a teacher and a number" in stillhouse(*words, *both, "--teacher", "gpt-4o", "--weight", "2").err
    assert "cannot be told apart" in stillhouse(*words, "--labels", "a,A", "--teacher", "gpt-4o").err
    assert "no one column 'body'" in stillhouse(*words, *both, "--teacher", "gpt-4o", "--column", "body").err
    assert "how" in stillhouse(*words, *both, "--teacher", "gpt-4o", "--combine", "magic").err
    assert teacher.asked == []


@pytest.mark.parametrize("detached", [False, True], ids=["in the foreground", "as a run"])
def test_killed_in_the_middle_it_asks_nothing_twice_but_what_was_under_way(
    stillhouse: Stillhouse, texts: Path, data_dir: Path, tmp_path: Path, detached: bool
) -> None:
    asked, stuck, go_on = Counter[str](), threading.Semaphore(0), threading.Event()

    def stuck_after_fifteen(text: str, request: dict[str, Any]) -> str:
        asked[text] += 1
        if asked.total() > 15 and not go_on.is_set():
            stuck.release()
            go_on.wait()
        return mood(text, request)

    words = ["label", "classify", str(texts), "--labels", "positive,negative", "--teacher", "gpt-4o", "--answers", "json"]
    words += ["--near-duplicates", "off", "--concurrency", "4", "--out", "mood", "--json"]
    with Classifier(stuck_after_fifteen) as teacher:
        add_upstream(data_dir, teacher.url, "gpt-4o")
        if detached:
            begun = stillhouse(*words, "--detach")
            assert (begun.code, begun.json["kind"]) == (0, "classify"), begun.err
            wait_for_four(stuck)
            kill(pid_of(data_dir, begun.json["id"]))
        else:
            command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(data_dir), *words]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                wait_for_four(stuck)
                process.kill()
        go_on.set()
        made = stillhouse(*words)
        assert made.code == 0, made.err
        assert set(asked) == set(TEXTS)
        assert Counter(asked.values()) == {1: 36, 2: 4}, "four were under way"
        other = tmp_path / "other"
        add_upstream(other, teacher.url, "gpt-4o")
        with pytest.raises(SystemExit):
            main(["--data-dir", str(other), *words])
    assert [each.name for each in (data_dir / "datasets").iterdir()] == [each.name for each in (other / "datasets").iterdir()]


def test_what_it_would_cost_is_said_before_and_only_of_what_is_left(
    stillhouse: Stillhouse, texts: Path, teacher: Classifier, data_dir: Path
) -> None:
    words = ["label", "classify", texts, "--labels", "positive,negative", "--teacher", "gpt-4o", "--max-tokens", "5"]
    words += ["--near-duplicates", "off", "--out", "mood", "--json"]
    found = stillhouse(*words, "--estimate").json["gpt-4o"]
    assert (found["questions"], found["requests"], found["answer_tokens_most"]) == (40, 40, 200)
    assert found["prompt_tokens_most"] > found["prompt_tokens"] > 40 * 20, "the labels are part of every prompt"
    assert teacher.asked == [] and not list((data_dir / "labels").glob("*"))
    assert stillhouse(*words, "--budget-calls", "10").code == 0
    left = stillhouse(*words, "--estimate").json["gpt-4o"]
    assert (left["requests"], left["answered"], left["spent"]["calls"], len(teacher.asked)) == (30, 10, 10, 10)


def wait_for_four(stuck: threading.Semaphore) -> None:
    for _ in range(4):
        assert stuck.acquire(timeout=60), "the teacher was not asked"


def pid_of(data_dir: Path, run_id: str) -> int:
    store = open_store(Settings(data_dir=data_dir))
    run = store.run(run_id)
    store.close()
    assert run is not None and run.pid is not None
    return run.pid
