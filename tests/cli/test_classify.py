"""`stillhouse label classify`: from a file of texts without labels to a student, in two commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.formats.examples import read_examples
from tests.cli.conftest import Stillhouse
from tests.fakes.classifier import Classifier
from tests.fakes.server import add_upstream

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
