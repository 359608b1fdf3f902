"""Who is how good at which task: teacher, student, answer-only, few-shot, majority, random, each with its 95 % interval.

Measures come from anywhere (a folder of completions, stored reports, a benchmark); runs that differ by their seed alone become
one line. What is drawn of them, accuracy over rationales a question and over the student's size, is said here too, as panels.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from pydantic import Field

from stillhouse.charts import Level, Line, Panel, Point
from stillhouse.evaluation.intervals import Z_95, share
from stillhouse.grade import Interval
from stillhouse.records import Record

ROLES = ("teacher", "student", "answer-only", "few-shot", "zero-shot", "base", "majority", "random")
"""In the order of a table; others follow them."""


class Measure(Record):
    """One model's right answers to one task's questions."""

    task: str
    role: str
    model: str = ""
    n: int = Field(ge=1)
    correct: float = Field(ge=0)
    """Whole but for guessing, of which it is what can be expected."""
    decoding: str = "greedy"
    """`greedy`, or `majority of 8`: self-consistency."""
    parameters: int | None = None
    d: int | None = None
    """Rationales a question that it was taught with."""
    seed: int | None = None
    distance: float | None = None
    """How different those rationales are: mean pairwise Jaccard distance of word 3-grams."""


class Standing(Record):
    """A line of the table: one measure, or the runs of one thing with several seeds."""

    task: str
    role: str
    model: str
    decoding: str
    parameters: int | None
    d: int | None
    distance: float | None
    runs: int
    n: int
    """Questions of a run."""
    accuracy: Interval
    """Share, 0 to 1."""


def standings(measures: Sequence[Measure]) -> list[Standing]:
    """By task, role, D and size."""
    groups: dict[tuple[object, ...], list[Measure]] = {}
    for each in measures:
        model = each.model if each.seed is None else ""  # seeds are models of their own
        groups.setdefault((each.task, each.role, each.decoding, each.d, each.parameters, model), []).append(each)
    found = [_standing(group) for group in groups.values()]
    order = {role: number for number, role in enumerate(ROLES)}
    tasks = list(dict.fromkeys(each.task for each in measures))
    return sorted(
        found,
        key=lambda line: (
            tasks.index(line.task),
            order.get(line.role, len(order)),
            line.decoding,
            line.parameters or 0,
            line.d or 0,
        ),
    )


def guessing(chance: float, n: int) -> Interval:
    """What guessing gets right, `chance` (0 to 1), and where 95 % of guessers lie on `n` questions (normal approximation)."""
    half = Z_95 * math.sqrt(chance * (1 - chance) / n)
    return Interval(value=chance, low=max(0.0, chance - half), high=min(1.0, chance + half))


def of_runs(shares: Sequence[float], n: int) -> Interval:
    """The mean of runs on the same `n` questions: Student's t over the runs, and never narrower than Wilson's of one run.

    A run's questions and its seed both are chance; the runs' spread knows the seeds only, for they share the questions.
    """
    mean = statistics.fmean(shares)
    single = share(round(mean * n), n)
    if len(shares) < 2:
        return single
    from scipy.special import stdtrit  # slow to import, and needed here alone

    half = float(stdtrit(len(shares) - 1, 0.975)) * statistics.stdev(shares) / math.sqrt(len(shares))
    low, high = min(single.low, mean - half), max(single.high, mean + half)
    return Interval(value=mean, low=max(0.0, min(low, mean)), high=min(1.0, max(high, mean)))


def panels(lines: Sequence[Standing], over: str = "d") -> list[Panel]:
    """A panel a task: accuracy over `d` or over `parameters`; what has none of these is a level. Tasks without any have none."""
    found = []
    for task in dict.fromkeys(line.task for line in lines):
        mine = [line for line in lines if line.task == task]
        placed = [line for line in mine if getattr(line, over) and (over == "d" or line.role in ("student", "answer-only"))]
        rest = [line for line in mine if line not in placed and line.role != "student"]
        if placed:
            label = "rationales a question (D)" if over == "d" else "parameters"
            levels = {_named(line, over): Level(name=_named(line, over), y=line.accuracy.value) for line in rest}
            found.append(Panel(title=task, x_label=label, lines=_drawn(placed, over), levels=tuple(levels.values())))
    return found


def _drawn(placed: Sequence[Standing], over: str) -> tuple[Line, ...]:
    by_name: dict[str, list[Point]] = {}
    several = over == "d" and len({(line.role, line.parameters) for line in placed}) > len({line.role for line in placed})
    for line in placed:
        point = Point(x=getattr(line, over), y=line.accuracy.value, low=line.accuracy.low, high=line.accuracy.high)
        size = f" of {line.parameters:,}" if several and line.parameters else ""
        by_name.setdefault(_named(line, over) + size, []).append(point)
    return tuple(Line(name=name, points=tuple(points)) for name, points in by_name.items())


def _named(line: Standing, over: str) -> str:
    """What tells the lines of a plot apart: not what the axis shows."""
    more = [] if line.decoding == "greedy" else [line.decoding]
    if over == "parameters" and line.d is not None:
        more.append(f"D = {line.d}")
    return ", ".join([line.role, *more])


def _standing(group: Sequence[Measure]) -> Standing:
    first = group[0]
    if first.role == "random":
        accuracy = guessing(first.correct / first.n, first.n)
    else:
        accuracy = of_runs([each.correct / each.n for each in group], first.n)
    return Standing(
        task=first.task,
        role=first.role,
        model=first.model if len(group) == 1 else "",
        decoding=first.decoding,
        parameters=first.parameters,
        d=first.d,
        distance=first.distance,
        runs=len(group),
        n=first.n,
        accuracy=accuracy,
    )
