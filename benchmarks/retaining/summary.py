"""What came out: by task and model, over the tasks, and each comparison with the better of some others."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from retaining.bench import COMPARISONS, TEACHER, Comparison

RESAMPLES = 4000


def summarised(rows: Sequence[dict[str, Any]], speeds: dict[str, dict[str, float]], models: Sequence[str]) -> dict[str, Any]:
    """By task and model; over the tasks; and the comparisons."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    by_task = {task: {name: _figures(rows, task, name, speeds.get(task, {})) for name in models} for task in tasks}
    overall = {name: _overall([by_task[task][name] for task in tasks]) for name in models if TEACHER in models}
    over = {name: _over(rows, tasks, comparison) for name, comparison in COMPARISONS.items()}
    return {"tasks": by_task, "overall": overall, **over}


def _figures(rows: Sequence[dict[str, Any]], task: str, name: str, speeds: dict[str, float]) -> dict[str, Any]:
    mine, teachers = _of(rows, task, name), _of(rows, task, TEACHER)
    accuracies = [row["accuracy"] for row in mine]
    found = {
        "seeds": len(mine),
        "examples": mine[0]["examples"],
        "accuracy": statistics.mean(accuracies),
        "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "parameters": mine[0]["parameters"],
        "size_bytes": mine[0]["size_bytes"],
        "texts_per_second": speeds.get(name),
        "seconds": statistics.mean(row["seconds"] for row in mine),
    }
    if teachers:
        found["retention"] = [row["accuracy"] / one["accuracy"] for row, one in zip(mine, teachers, strict=True)]
        found["smaller"] = teachers[0]["parameters"] / mine[0]["parameters"] if mine[0]["parameters"] else None
        found["faster"] = speeds[name] / speeds[TEACHER] if {name, TEACHER} <= set(speeds) else None
    return found


def _overall(of_tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Retention: the mean over tasks of the seeds' means, the worst of these, the worst of all runs. Sizes: the worst task's."""
    means = [statistics.mean(each["retention"]) for each in of_tasks]
    least = {key: min((each[key] for each in of_tasks if each[key]), default=None) for key in ("smaller", "faster")}
    worst_run = min(retention for each in of_tasks for retention in each["retention"])
    return {"mean_retention": statistics.mean(means), "worst_task": min(means), "worst_run": worst_run, **least}


def _over(rows: Sequence[dict[str, Any]], tasks: Sequence[str], comparison: Comparison) -> dict[str, Any]:
    """Task -> accuracy of the model less that of the better other, with a 95 % interval; `mean`: over the tasks."""
    found: dict[str, Any] = {}
    draws = []
    for task in tasks:
        ours = _of(rows, task, comparison.model)
        others = {name: other for name in comparison.others if len(other := _of(rows, task, name)) == len(ours) > 0}
        if not others:
            return {}
        best = max(others, key=lambda name: statistics.mean(row["accuracy"] for row in others[name]))
        difference_SE = _right(ours) - _right(others[best])
        draws.append(resampled(difference_SE))
        found[task] = {"other": best, **_interval(float(difference_SE.mean()), draws[-1])}
    value = statistics.mean(found[task]["value"] for task in tasks)
    chosen = ", ".join(dict.fromkeys(each["other"] for each in found.values()))
    return {**found, "mean": {"other": chosen, **_interval(value, np.mean(draws, axis=0))}}


def resampled(difference_SE: Any, *, seed: int = 0) -> Any:
    """Means of `RESAMPLES` bootstrap samples of S seeds and of E examples, each drawn with replacement and crossed.

    Owen, The pigeonhole bootstrap (Annals of Applied Statistics 1, 2007). With one seed only the examples are drawn.
    """
    draw = np.random.default_rng(seed)
    seeds, examples = difference_SE.shape
    times_RS = draw.multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES)
    times_RE = draw.multinomial(examples, [1 / examples] * examples, size=RESAMPLES)
    return ((times_RS @ difference_SE) * times_RE).sum(axis=1) / (seeds * examples)


def _interval(value: float, draws: Any) -> dict[str, float]:
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def _of(rows: Sequence[dict[str, Any]], task: str, name: str) -> list[dict[str, Any]]:
    """In the order of the seeds."""
    return sorted((row for row in rows if (row["task"], row["model"]) == (task, name)), key=lambda row: int(row["seed"]))


def _right(rows: Sequence[dict[str, Any]]) -> Any:
    """right_SE: 1 where the seed's model gave the example its label."""
    return np.array([[int(each) for each in row["right"]] for row in rows])


def table(summary: dict[str, Any]) -> str:
    """For people, and for docs/results.md."""
    lines = []
    for task, models in summary["tasks"].items():
        lines += ["", f"{task}, {next(iter(models.values()))['examples']:,} texts", ""]
        lines += [
            "| model | accuracy | of the teacher's | parameters | smaller | MB | texts/s | faster |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [_line(name, figures) for name, figures in models.items()]
    for name, figures in summary["overall"].items():
        lines.append(
            f"{name}: keeps {figures['mean_retention']:.1%} (worst task {figures['worst_task']:.1%}, worst run "
            f"{figures['worst_run']:.1%}); {_times(figures['smaller'])} smaller, {_times(figures['faster'])} faster"
        )
    for name, comparison in COMPARISONS.items():
        for task, each in summary[name].items():
            said = f"{each['value']:+.1%} ({each['low']:+.1%} to {each['high']:+.1%})"
            lines.append(f"{comparison.model} over {each['other']}, {task}: {said}")
    return "\n".join(lines)


def _line(name: str, figures: dict[str, Any]) -> str:
    spread = "" if figures["spread"] is None else f" ± {figures['spread']:.1%}"
    kept = statistics.mean(figures["retention"]) if "retention" in figures else None
    rate = figures["texts_per_second"]
    cells = (
        name,
        f"{figures['accuracy']:.1%}{spread}",
        "" if kept is None else f"{kept:.1%}",
        f"{figures['parameters']:,}",
        _times(figures.get("smaller")),
        f"{figures['size_bytes'] / 1e6:.1f}",
        "" if rate is None else f"{rate:,.0f}",
        _times(figures.get("faster")),
    )
    return f"| {' | '.join(cells)} |"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:,.1f}x"
