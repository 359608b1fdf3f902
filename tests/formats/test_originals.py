"""The twelve tasks' original files, invented content in their form: what a model is asked, and the gold answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import FormatError, NotFoundError
from stillhouse.formats.originals import ORIGINALS
from stillhouse.formats.originals.base import Pair
from stillhouse.reasoning import TASKS

PROBLEM = [{"iIndex": 0, "sQuestion": " Two and 4.5? ", "lSolutions": [6.5]}, {"sQuestion": "Three?", "lSolutions": [3.0]}]
PROBLEM_PAIRS = [Pair("Two and 4.5?", "6.5"), Pair("Three?", "3")]
GENERATED = {"examples": [{"question": "Q?", "answer": "yes"}]}
CASES: dict[str, tuple[dict[str, Any], list[Pair]]] = {
    "multiarith": ({"MultiArith/MultiArith.json": PROBLEM}, PROBLEM_PAIRS),
    "addsub": ({"AddSub.json": PROBLEM}, PROBLEM_PAIRS),
    "single_eq": ({"SingleEq/questions.json": PROBLEM}, PROBLEM_PAIRS),
    "svamp": (
        {
            "SVAMP.json": [
                {"Body": "Ann has 2. ", "Question": "How many?", "Answer": 2.0},
                {"Body": "a", "Question": "b", "Answer": 0.25},
            ]
        },
        [Pair("Ann has 2. How many?", "2"), Pair("a b", "0.25")],
    ),
    "aqua": (
        {
            "AQuA/train.json": [
                {"question": "How many (of 3)? ", "options": ["A)1", "B)2 (two)"], "rationale": "So.", "correct": "B"}
            ],
            "AQuA/test.json": [{"question": "And?", "options": ["A)x"], "correct": "A"}],
            "AQuA/dev.json": [{"question": "Not this", "options": ["A)x"], "correct": "A"}],
        },
        [Pair("How many (of 3)? Answer Choices: (A) 1 (B) 2  (two) ", "B", "So."), Pair("And? Answer Choices: (A) x", "A")],
    ),
    "gsm8k": (
        {
            "train.jsonl": [{"question": "A?", "answer": "Two <<1+1=2>>.\n#### 1,200"}],
            "test.jsonl": [{"question": "B? ", "answer": "#### 3"}],
        },
        [Pair("A?", "1,200", "Two <<1+1=2>>."), Pair("B?", "3", "")],
    ),
    "commonsense_qa": (
        {
            "train_rand_split.jsonl": [
                {
                    "answerKey": "B",
                    "question": {"stem": "Where? ", "choices": [{"label": "A", "text": "in"}, {"label": "B", "text": "out"}]},
                }
            ],
            "dev_rand_split.jsonl": [{"answerKey": "A", "question": {"stem": "Who?", "choices": [{"label": "A", "text": "me"}]}}],
        },
        [Pair("Where? Answer Choices: (A) in (B) out", "B"), Pair("Who? Answer Choices: (A) me", "A")],
    ),
    "strategy_qa": (
        {
            "strategyqa/task.json": {"examples": [{"input": "Is it?", "target_scores": {"Yes": 1, "No": 0}}]},
            "strategyqa_train.json": [{"question": "Not this", "answer": True}],
        },
        [Pair("Is it?", "yes")],
    ),
    "tracking_shuffled_objects": (
        {
            "tracking_shuffled_objects/three_objects/task.json": {
                "examples": [{"input": "Ann has", "target_scores": {"red.": 0, "blue.": 1, "green.": 0}}]
            },
            "tracking_shuffled_objects/five_objects/task.json": {"examples": []},
        },
        [Pair("Ann has \nWhich choice is true ? Answer Choices: (A) red. (B) blue. (C) green.", "B")],
    ),
    "coin_flip": ({"coin_flip/coin_flip.json": GENERATED}, [Pair("Q?", "yes")]),
    "last_letter_concatenation": ({"last_letters.json": GENERATED}, [Pair("Q?", "yes")]),
}


def write_all(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.suffix == ".jsonl" or "AQuA" in name
        path.write_text("\n".join(map(json.dumps, content)) + "\n" if lines else json.dumps(content), encoding="utf-8")
    return folder


def test_every_task_of_the_paper_has_a_reader() -> None:
    assert set(ORIGINALS.names()) == set(TASKS) == {*CASES, "date_understanding"}


@pytest.mark.parametrize("task", CASES)
def test_questions_and_answers(tmp_path: Path, task: str) -> None:
    files, expected = CASES[task]
    assert list(ORIGINALS.resolve(task)().read(write_all(tmp_path, files))) == expected


def test_the_owners_own_strategy_qa(tmp_path: Path) -> None:
    write_all(tmp_path, {"strategyqa_train.json": [{"question": "Is it? ", "answer": False}]})
    assert list(ORIGINALS.resolve("strategy_qa")().read(tmp_path)) == [Pair("Is it?", "no")]


def test_dates_are_shuffled_the_same_way_each_time_and_the_letter_follows(tmp_path: Path) -> None:
    scores = {f"0{day}/01/2021": int(day == 1) for day in range(1, 7)}
    examples = [{"input": f"Q{number}?", "target_scores": scores} for number in range(20)]
    write_all(tmp_path, {"date_understanding/task.json": {"examples": examples}})
    read = ORIGINALS.resolve("date_understanding")().read
    found = list(read(tmp_path))
    assert found == list(read(tmp_path))
    assert len({pair.answer for pair in found}) > 3
    assert all(f"({pair.answer}) 01/01/2021" in pair.question for pair in found)


@pytest.mark.parametrize("task", ORIGINALS.names())
def test_a_folder_without_its_files_says_which_are_wanted(tmp_path: Path, task: str) -> None:
    with pytest.raises(NotFoundError, match="json"):
        list(ORIGINALS.resolve(task)().read(tmp_path))


@pytest.mark.parametrize(
    ("task", "files", "says"),
    [
        ("svamp", {"SVAMP.json": [{"Body": "a", "Question": "b", "Answer": "many"}]}, "row 1"),
        ("addsub", {"AddSub.json": [PROBLEM[0], {"sQuestion": "no solution"}]}, "row 2"),
        ("addsub", {"AddSub.json": {"rows": []}}, "list of questions"),
        ("coin_flip", {"coin_flip.json": []}, "list of questions"),
        ("gsm8k", {"train.jsonl": [{"question": "a", "answer": "no mark"}]}, "####"),
    ],
)
def test_rows_that_are_none_end_the_reading_with_their_number(
    tmp_path: Path, task: str, files: dict[str, Any], says: str
) -> None:
    with pytest.raises(FormatError, match=says):
        list(ORIGINALS.resolve(task)().read(write_all(tmp_path, files)))
