"""`label next` and `dataset report`, from files to files."""

from __future__ import annotations

import random
import re
from pathlib import Path

import orjson
import pytest

from stillhouse.artifacts import write_manifest
from stillhouse.cli.main import main
from stillhouse.students.linear import LinearStudent
from tests.cli.test_completions import Run, row, run, write
from tests.cli.test_dataset import csv

__all__ = ["run"]

COLOURS = ("red", "blue", "green", "yellow", "pink", "grey", "white", "black", "orange", "brown")
THINGS = {"lamp": "light", "candle": "light", "chair": "seat", "bench": "seat", "train": "ride", "bus": "ride"}


def rows(start: int, count: int) -> list[tuple[str, str]]:
    """Different questions and their labels, which one word of them says."""
    drawn = random.Random(start)
    made = []
    for number in range(start, start + count):
        thing = list(THINGS)[number % 6]
        made.append((f"{' '.join(drawn.choices(COLOURS, k=4))} {thing} number {number}, {drawn.random():.6f}", THINGS[thing]))
    return made


def lines(made: list[tuple[str, str]]) -> list[str]:
    return [f'"{text}",{label}' for text, label in made]


def read(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Knows lights and seats from rides, and nothing else."""
    folder = tmp_path_factory.mktemp("student")
    made = rows(1000, 60)
    trained = LinearStudent.fit([text for text, _ in made], [label for _, label in made], {})
    trained.save(folder)
    write_manifest(folder, kind="linear", parameters=trained.parameters)
    return folder


def test_what_is_chosen_can_be_labelled_and_is_never_what_is_known(tmp_path: Path, run: Run) -> None:
    pool = rows(0, 60)
    run("dataset", "import", "pool", csv(tmp_path / "pool.csv", *lines(pool)), "--near-leaks", "off")
    known = csv(tmp_path / "known.csv", *lines(pool[:25]))
    words = ("label", "next", "pool", "--n", "12", "--already", known)
    found = run(*words, "--out", tmp_path / "next.jsonl")
    assert found["by"] == "k_means" and len(found["chosen"]) == 12
    asked = [line["messages"][0]["content"] for line in read(tmp_path / "next.jsonl")]  # type: ignore[index]
    assert len(set(asked)) == 12 and not set(asked) & {text for text, _ in pool[:25]}
    again = run(*words, "--out", tmp_path / "again.jsonl")
    assert again == found
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "next.jsonl").read_bytes()
    assert run(*words, "--out", tmp_path / "next.jsonl") == 2, "a file that is there stays"
    assert run("label", "next", "pool", "--by", "margin", "--out", tmp_path / "x.jsonl") == 2, "no student is named"
    assert run("label", "next", "pool", "--by", "guess", "--out", tmp_path / "x.jsonl") == 2


def test_a_students_doubts_come_first(tmp_path: Path, run: Run, student: Path) -> None:
    """Questions about things it has never seen, among others that it knows."""
    foreign = [f"what costs a {word} in room {number}" for number, word in enumerate(("melon", "kettle", "parrot"))]
    file = tmp_path / "questions.txt"
    file.write_text("\n".join([*(text for text, _ in rows(1000, 40)), *foreign]), encoding="utf-8")
    found = run("label", "next", file, "--student", student, "--n", "3", "--out", tmp_path / "next.jsonl")
    assert found["by"] == "margin"
    assert {each["messages"][-1]["content"] for each in found["chosen"]} == set(foreign)
    assert "second" in found["chosen"][0]["reason"]


def test_a_report_says_what_is_there_and_what_twice_as_many_would_add(tmp_path: Path, run: Run) -> None:
    made = rows(0, 400)
    extra = [(made[0][0].upper(), made[0][1])]
    train = csv(tmp_path / "train.csv", *lines(made[:320]), *lines(extra))
    test = csv(tmp_path / "test.csv", *lines(made[320:]))
    words = ("dataset", "import", "d", train, "--test", test, "--near-leaks", "off")
    run(*words)
    found = run("dataset", "report", "d", "--seeds", "2", "--html", tmp_path / "page.html")
    assert found["description"]["counts"] == {"train": 320, "valid": 0, "test": 80}
    assert found["description"]["labels"]["counts"] == {"light": 108, "seat": 106, "ride": 106}
    curve = found["curve"]
    assert [point["n"] for point in curve["points"]] == [20, 40, 80, 160, 320]
    assert [len(point["seeds"]) for point in curve["points"]] == [2, 2, 2, 2, 1]
    assert curve["points"][-1]["accuracy"]["value"] > 0.9
    assert any("Doubling the data" in sentence for sentence in found["words"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<svg" in page and not re.search(r"src=|href=|url\(|@import", page), "nothing is fetched"
    assert run("dataset", "report", "d", "--seeds", "2") == found, "measured once, kept"


def test_a_report_looks_at_traffic_and_does_without_a_curve_where_there_is_none_to_have(tmp_path: Path, run: Run) -> None:
    run("dataset", "import", "d", csv(tmp_path / "train.csv", *lines(rows(0, 60))), "--split", "1,0,0", "--near-leaks", "off")
    run("import", "jsonl", write(tmp_path / "f.jsonl", row(1, "wo ist meine bestellung"), row(2, rows(0, 60)[3][0])))
    found = run("dataset", "report", "d", "--traffic")
    assert found["curve"] is None and "needs texts to learn from and others to ask" in found["no_curve"]
    assert found["coverage"]["covered"]["traffic"]["near"] == 1
    assert run("dataset", "report", "nothing") == 5


def test_tables_for_people(tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("dataset", "import", "d", csv(tmp_path / "train.csv", *lines(rows(0, 80))), "--near-leaks", "off")
    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path / "data"), "dataset", "report", "d", "--no-curve"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "3 labels" in shown and "near a training text" in shown and "Doubling" not in shown
