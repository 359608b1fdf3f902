"""The report of reasoning students: lines, their intervals, and what is drawn of them."""

from __future__ import annotations

import pytest

from stillhouse.evaluation.intervals import share
from stillhouse.evaluation.standings import Measure, guessing, of_runs, panels, standings


def measure(role: str, correct: int, **more: object) -> Measure:
    return Measure.model_validate({"task": "coin_flip", "role": role, "n": 100, "correct": correct, **more})


def test_seeds_become_one_line_and_everything_else_stays_apart() -> None:
    lines = standings(
        [
            measure("random", 50),
            *(measure("student", 80 + seed, d=2, seed=seed, model=f"s{seed}", parameters=7) for seed in range(3)),
            measure("student", 70, d=1, seed=0, parameters=7),
            measure("student", 90, d=1, seed=0, parameters=7, decoding="majority of 8"),
            measure("teacher", 95, model="t"),
            measure("teacher", 91, model="u"),
        ]
    )
    assert [(line.role, line.d, line.runs) for line in lines] == [
        ("teacher", None, 1),
        ("teacher", None, 1),
        ("student", 1, 1),
        ("student", 2, 3),
        ("student", 1, 1),
        ("random", None, 1),
    ]
    assert lines[3].accuracy.value == pytest.approx(0.81)


def test_an_interval_of_runs_knows_seeds_and_questions() -> None:
    """Student's t of 0.5, 0.6, 0.7: 0.6 +- 4.303 * 0.1 / sqrt(3). Runs that agree are no better known than one of them."""
    assert of_runs([0.6], 100) == share(60, 100)
    wide = of_runs([0.5, 0.6, 0.7], 10_000)
    assert [wide.low, wide.high] == pytest.approx([0.3516, 0.8484], abs=1e-4)
    assert of_runs([0.6, 0.6, 0.6], 100) == share(60, 100)


def test_guessing_is_known_and_its_luck_is_not() -> None:
    found = guessing(0.5, 100)
    assert [found.value, found.low, found.high] == pytest.approx([0.5, 0.402, 0.598], abs=1e-4)
    assert guessing(0.0, 10).high == 0.0


def test_a_plot_over_d_has_the_others_as_levels_and_one_over_size_has_lines() -> None:
    lines = standings(
        [
            *(measure("student", 60 + d, d=d, parameters=size) for d in (1, 8) for size in (10, 100)),
            *(measure("answer-only", 55, parameters=size) for size in (10, 100)),
            measure("majority", 52),
        ]
    )
    [over_d] = panels(lines)
    assert [level.name for level in over_d.levels] == ["answer-only", "majority"]
    assert {line.name: [point.x for point in line.points] for line in over_d.lines} == {
        "student of 10": [1, 8],
        "student of 100": [1, 8],
    }
    [over_size] = panels(lines, "parameters")
    assert {line.name: [point.x for point in line.points] for line in over_size.lines} == {
        "student, D = 1": [10, 100],
        "student, D = 8": [10, 100],
        "answer-only": [10, 100],
    }
    assert panels(standings([measure("teacher", 9)])) == []
