from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from skops.io._trusted_types import SKLEARN_ESTIMATOR_TYPE_NAMES

from stillhouse.errors import RecipeError, TrainingError, UsageError
from stillhouse.students.linear import MODEL_FILE, LinearStudent

TEXTS = ["my card is lost", "I lost a card today", "a new pin please", "please change the pin"]
LABELS = ["card", "card", "pin", "pin"]
BANKING77 = Path(__file__).parent.parent.parent.parent / "shared" / "data" / "banking77"


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Classify."}, {"role": "user", "content": text}]


def test_it_learns_labels_and_says_how_sure_it_is() -> None:
    student = LinearStudent.fit(TEXTS, LABELS, {})
    chats = [chat("where is my lost card?"), chat("pin")]
    assert student.answer(chats) == ["card", "pin"]
    for row in student.probabilities(chats):
        assert set(row) == {"card", "pin"}
        assert sum(row.values()) == pytest.approx(1)
    assert student.answer([]) == []


def test_it_reads_the_last_user_message() -> None:
    student = LinearStudent.fit(TEXTS, LABELS, {})
    earlier = [*chat("my card is lost"), {"role": "assistant", "content": "card"}]
    assert student.answer([[*earlier, *chat("change the pin")]]) == ["pin"]
    assert student.answer([[{"role": "user", "content": [{"type": "text", "text": "change the pin"}]}]]) == ["pin"]
    with pytest.raises(UsageError, match="last user message"):
        student.answer([[{"role": "system", "content": "Classify."}]])


def test_a_saved_one_gives_the_same_probabilities(tmp_path: Path) -> None:
    student = LinearStudent.fit(TEXTS, LABELS, {"words": [1, 1], "characters": [3, 4], "regularisation": 2.0})
    student.save(tmp_path)
    loaded = LinearStudent.load(tmp_path)
    chats = [chat(text) for text in TEXTS]
    assert loaded.probabilities(chats) == student.probabilities(chats)
    assert (loaded.parameters, loaded.labels) == (student.parameters, ["card", "pin"])


def test_mistakes_are_named() -> None:
    with pytest.raises(RecipeError, match="wrods"):
        LinearStudent.fit(TEXTS, LABELS, {"wrods": [1, 2]})
    with pytest.raises(TrainingError, match="at least two"):
        LinearStudent.fit(TEXTS, ["card"] * 4, {})
    with pytest.raises(TrainingError, match="no word or character"):
        LinearStudent.fit(["", " "], ["a", "b"], {})


def test_a_folder_without_a_student_or_with_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is missing"):
        LinearStudent.load(tmp_path)
    (tmp_path / MODEL_FILE).write_bytes(b"not a zip")
    with pytest.raises(UsageError, match="cannot be read"):
        LinearStudent.load(tmp_path)
    skops.io.dump(LogisticRegression(), tmp_path / MODEL_FILE)
    with pytest.raises(UsageError, match="no linear student"):
        LinearStudent.load(tmp_path)


class Canary:
    """A type no student has; loading it would run its `__setstate__`."""

    touched = False

    def __init__(self) -> None:
        self.state = 1

    def __setstate__(self, state: object) -> None:
        Canary.touched = True


def test_a_foreign_type_is_never_built(tmp_path: Path) -> None:
    skops.io.dump(Canary(), tmp_path / MODEL_FILE)
    with pytest.raises(UsageError, match="Canary"):
        LinearStudent.load(tmp_path)
    assert not Canary.touched


def test_its_process_does_without_pytorch() -> None:
    """Which skops would import to list the types it trusts; what it trusts is the same either way."""
    trusted = "import skops.io._trusted_types as types; print(sorted(types.SKLEARN_ESTIMATOR_TYPE_NAMES))"
    code = f"import sys, stillhouse.students.linear; print('torch' in sys.modules); {trusted}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", str(sorted(SKLEARN_ESTIMATOR_TYPE_NAMES))]


@pytest.mark.slow
@pytest.mark.skipif(not BANKING77.is_dir(), reason="the Banking77 files are not beside the repository")
def test_banking77_reaches_91_percent() -> None:
    def rows(name: str) -> tuple[list[str], list[str]]:
        with (BANKING77 / name).open(encoding="utf-8", newline="") as file:
            pairs = [(row["text"], row["category"]) for row in csv.DictReader(file)]
        return [text for text, _ in pairs], [label for _, label in pairs]

    student = LinearStudent.fit(*rows("train.csv"), {})
    texts, labels = rows("test.csv")
    answers = student.answer([chat(text) for text in texts])
    assert sum(answer == label for answer, label in zip(answers, labels, strict=True)) / len(labels) >= 0.91
