"""Rationales: sieves that lose nothing, votes, diverse reasoning, weights, how different they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.answers import answer_type
from stillhouse.curation.rationales import choose, diversity, read_folder, right, score, sift, weigh
from stillhouse.curation.rationales import sieves as kinds
from stillhouse.curation.rationales.choosing import CHOICES, Choice, choose_by
from stillhouse.curation.rationales.diversity import distinct, mean_distance
from stillhouse.errors import UsageError
from stillhouse.grade import Grade, GradingError
from stillhouse.graders.answer import Answer
from stillhouse.reasoning import Rationale
from tests.reasoning.papers import OTHER_TASKS, completion_row, write, write_paper


def rationale(completion: str | None, *, sample: int = 0, answer: str = "4", kind: str = "number", **fields: Any) -> Rationale:
    row = {**completion_row(sample, "Two and two?", answer, completion or ""), **fields}
    if completion is None:
        del row["completion"]
    return Rationale(row, answer_type(kind), "zs_cot")


def said(*completions: str, sample: int = 0) -> list[Rationale]:
    return [rationale(each, sample=sample, completion_index=number) for number, each in enumerate(completions)]


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("task", OTHER_TASKS)
def test_the_other_tasks_by_both_rules(tmp_path: Path, task: str, bare: bool) -> None:
    root = write_paper(tmp_path, bare=bare)
    [reading] = [each for each in read_folder(root) if each.task.key == task]
    assert reading.gold_from == "dataset"
    for each, expected in zip(reading.rationales, OTHER_TASKS[task], strict=True):
        assert (right(each, "published"), right(each, "numeric")) == expected[2:], expected
    counted = score(reading, "published")
    assert (counted.n, counted.correct) == (len(OTHER_TASKS[task]), sum(one.published for one in OTHER_TASKS[task]))


def test_the_gold_answer_is_the_datasets_where_it_asks_the_same(tmp_path: Path) -> None:
    root = write_paper(tmp_path, tasks={"svamp": OTHER_TASKS["svamp"][:2]})
    [file] = (root / "saved").rglob("D_svamp.json")
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"answer": "145"', '"answer": "0"'), encoding="utf-8")
    [reading] = read_folder(root)
    assert score(reading).correct == 1
    file.write_text(text.replace("Question 0 of svamp?", "Another question?"), encoding="utf-8")
    [reading] = read_folder(root)
    assert (reading.strangers, reading.gold_from) == (1, "dataset")
    (root / "data" / "dataset" / "svamp.json").unlink()
    [reading] = read_folder(root)
    assert (score(reading).gold_from, score(reading).correct) == ("completions", 1)


def test_rows_without_an_answer_yet_are_counted_apart(tmp_path: Path) -> None:
    rows = [completion_row(0, "a?", "4", "4"), completion_row(1, "b?", "4", "4")]
    del rows[1]["completion"]
    metadata = {"dataset_key": "svamp", "base_model": "m", "completion_key": "zs_cot"}
    write(tmp_path / "B_m__C_zs_cot" / "D_svamp.json", {"metadata": metadata, "data": {"0": rows[:1], "1": rows[1:]}})
    [reading] = read_folder(tmp_path)
    assert (score(reading).n, score(reading).incomplete, score(reading).accuracy) == (1, 1, 100.0)


def test_fine_tuned_students_are_read_by_their_marker(tmp_path: Path) -> None:
    said = [" 2 and 2 is 4 --> 4", " 2 and 3 is 5 --> 4", " 4, then 5", " --> none"]
    rows = [completion_row(index, f"{index}?", "4", text) for index, text in enumerate(said)]
    metadata = {"dataset_key": "svamp", "base_model": "curie", "completion_key": "ft_cot", "finetune_key": "zs_cot_svamp"}
    document = {
        "metadata": {**metadata, "prediction_template": "ft_cot_token"},
        "data": {str(i): [row] for i, row in enumerate(rows)},
    }
    write(tmp_path / "B_curie__C_ft_cot" / "F_zs_cot_svamp__D_svamp.json", document)
    [reading] = read_folder(tmp_path)
    found = score(reading)
    assert (found.correct, found.unmarked, found.no_candidate, found.finetune_key) == (2, 1, 1, "zs_cot_svamp")


def test_self_consistency_is_told_where_questions_have_several(tmp_path: Path) -> None:
    rows = [completion_row(0, "a?", "4", text, number=number) for number, text in enumerate(["5", "4", "4.0"])]
    metadata = {"dataset_key": "svamp", "base_model": "m", "completion_key": "zs_cot_t70", "prediction_template": "zs_cot"}
    write(tmp_path / "B_m__C_zs_cot_t70" / "D_svamp.json", {"metadata": metadata, "data": {"0": rows}})
    [reading] = read_folder(tmp_path)
    assert (score(reading).majority, score(reading).correct) == (100.0, 2)
    assert score(reading, "published").correct == 1


LINES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["4", "5", "none", "4.", None]), st.sampled_from("abc")), max_size=12
)


@given(LINES, st.permutations(range(6)), st.integers(0, 4))
async def test_kept_and_put_aside_are_all_there_was(lines: list[tuple[int, str | None, str]], order: list[int], few: int) -> None:
    rows = [rationale(text, sample=sample, reasoning_completion=steps * 3) for sample, text, steps in lines]
    every: list[kinds.Sieve] = [
        *(kinds.complete, kinds.right_answer(), kinds.majority_vote(), kinds.length(1, 3)),
        *(kinds.duplicates(0.9), kinds.leaked),
    ]
    sifted = await sift(rows, [every[position] for position in order])
    everything = [*sifted.kept, *(each for each, _ in sifted.put_aside)]
    assert sorted(map(id, everything)) == sorted(map(id, rows))
    assert sum(sifted.counts.values()) + len(sifted.kept) == len(rows)
    assert [id(each) for each in rows if id(each) in set(map(id, sifted.kept))] == list(map(id, sifted.kept))


async def reasons(rows: Sequence[Rationale], sieve: kinds.Sieve) -> list[str | None]:
    sifted = await sift(rows, [sieve])
    found = {id(each): reason for each, reason in sifted.put_aside}
    return [found.get(id(each)) for each in rows]


async def test_right_answers() -> None:
    rows = [rationale("4"), rationale("5"), rationale("?"), rationale(None), rationale("4", answer="")]
    assert await reasons(rows, kinds.right_answer()) == [
        *(None, "wrong answer", "no answer to be found", "no answer was asked for", "nobody knows the right answer"),
    ]


async def test_the_majority_needs_no_gold_answer() -> None:
    rows = [*said("4", "4.0", "5", "?"), *said("7", "8", sample=1), *said("9", sample=2)]
    tie = "its question's votes are tied"
    assert await reasons(rows, kinds.majority_vote()) == [
        *(None, None, "not the majority's answer", "no answer to be found", tie, tie, None),
    ]
    small = "its question's majority is too small"
    assert (await reasons(rows, kinds.majority_vote(0.5)))[:2] == [small, small]


async def test_a_grader_judges() -> None:
    assert await reasons(said("4", "5"), kinds.judged(Answer())) == [None, "not passed by 'answer'"]


async def test_what_a_grader_cannot_grade_is_put_aside_with_that_reason() -> None:
    class Broken:
        name = "broken"

        async def grade(self, item: object, sample: object) -> Grade:
            raise GradingError("no judge")

    assert await reasons(said("4"), kinds.judged(Broken())) == ["could not be graded by 'broken'"]


async def test_length_and_duplicates() -> None:
    rows = [
        rationale("4", reasoning_completion=text)
        for text in ("A b.", "a  b.", "Something longer than that.", "something longer than that")
    ]
    assert await reasons(rows, kinds.length(6, 26)) == ["reasoning too short", "reasoning too short", "reasoning too long", None]
    assert await reasons(rows, kinds.duplicates()) == [None, "duplicate reasoning", None, None]
    assert (await reasons(rows, kinds.duplicates(0.8)))[3] == "nearly the same reasoning"
    apart = [rationale("4", sample=number, reasoning_completion="A b.") for number in (0, 1)]
    assert await reasons(apart, kinds.duplicates()) == [None, None]


@pytest.mark.parametrize(
    ("steps", "reason", "cut"),
    [
        ("So it is four.", None, False),
        ("So it is 4", None, False),
        ("So it is the", None, True),
        ("So 2 +", None, True),
        ("So it is four.", "length", True),
        ("So it is the", "stop", False),
    ],
)
async def test_reasoning_that_was_cut_off(steps: str, reason: str | None, cut: bool) -> None:
    row = rationale("4", reasoning_completion=steps, reasoning_finish_reason=reason)
    assert (await reasons([row], kinds.truncated)) == ["reasoning cut off" if cut else None]


@pytest.mark.parametrize(
    ("question", "answer", "kind", "leaks"),
    [
        ("What is 2 and 2? The answer is 4.", "4", "number", True),
        ("What is 4 and 0?", "4", "number", False),
        ("The answer is 5 more than 4. What is it?", "9", "number", False),
        ("Which? Answer Choices: (A) x (B) y", "B", "choice", False),
        ("Which? (A) x (B) y Answer: B", "B", "choice", True),
        ("Join the last letters of Ann, anna.", "anna", "letters", True),
        ("Join the last letters of Annabel.", "anna", "letters", False),
        ("Is it yes?", "yes", "yes_no", False),
    ],
)
async def test_questions_that_say_their_answer(question: str, answer: str, kind: str, leaks: bool) -> None:
    row = rationale("x", question=question, answer=answer, kind=kind)
    assert (await reasons([row], kinds.leaked)) == ["the question says its answer" if leaks else None]


def with_steps(*texts: str, sample: int = 0) -> list[Rationale]:
    return [rationale("4", sample=sample, reasoning_completion=text) for text in texts]


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 5), st.sampled_from(CHOICES), st.integers(0, 3))
def test_at_most_d_a_question_in_the_order_they_came(samples: list[int], d: int, how: Choice, seed: int) -> None:
    rows = [rationale("4", sample=sample, reasoning_completion=f"{number} steps") for number, sample in enumerate(samples)]
    chosen = choose(rows, d, how, seed=seed)
    for sample in set(samples):
        assert sum(each.sample == sample for each in chosen) == min(d, samples.count(sample))
    assert [id(each) for each in rows if each in chosen] == [id(each) for each in chosen]
    assert {id(each) for each in chosen} <= {id(each) for each in choose(rows, d + 1, how, seed=seed)}
    assert sum(weigh(chosen, "question")) == pytest.approx(len(set(samples)))
    assert weigh(chosen) == [1.0] * len(chosen)


def test_the_most_different_ones() -> None:
    rows = with_steps("a b c d e", "a b c d f", "a b c d e", "v w x y z")
    assert choose(rows, 2, "different") == [rows[0], rows[3]]
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [1.0, 0.2]])
    assert choose(rows, 2, "different", embed=lambda texts: vectors[: len(texts)]) == rows[:2]
    assert choose(rows, 2, "random", seed=1) != choose(rows, 2, "random", seed=3)
    with pytest.raises(UsageError, match="At least 1"):
        choose(rows, 0)


class Lengths:
    """Vectors by the number of words: the direction turns with it."""

    name = "lengths"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return [[1.0, float(len(text.split()))] for text in texts]


async def test_the_most_different_ones_by_what_an_embedder_says() -> None:
    rows = with_steps("a", "b c", "a", "d e f g")
    embedder = Lengths()
    assert await choose_by(rows, 2, "different", embedder=embedder) == [rows[0], rows[3]]
    assert choose(rows, 2, "different") == rows[:2], "no word is shared"
    assert embedder.asked == ["a", "b c", "d e f g"], "each text once"
    assert await choose_by(rows, 2, "different") == await choose_by(rows, 2, embedder=embedder) == rows[:2]
    assert len(embedder.asked) == 3, "the first ones need no vectors"


def test_how_different_they_are() -> None:
    assert mean_distance(["a b c d"] * 3) == 0
    assert mean_distance(["a b c", "x y z"]) == 1
    assert mean_distance(["a b c d", "a b c e"]) == pytest.approx(2 / 3)  # one of three grams is shared
    assert distinct(["a b", "a c"], 1) == 0.75
    assert mean_distance(["a"]) == mean_distance([]) == mean_distance(["", ""]) == 0
    same, apart = with_steps("a b c", "a b  c"), with_steps("a b c", "x y z", sample=1)
    measured = diversity([*same, *apart, *with_steps("alone", sample=2)])
    assert (measured.questions, measured.rationales, measured.distance, measured.distinct_texts) == (2, 4, 0.5, 0.75)
    assert diversity([]).distance == 0
