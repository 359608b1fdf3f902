"""What came out: each run as `cot report` reads it, and the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

KEPT = ("parameters", "d", "seed", "decoding", "rows")


def measure(row: dict[str, Any]) -> dict[str, Any]:
    """As `cot report` reads it; where it lay on this machine is nobody's business."""
    named = row["role"] in ("teacher", "base", "few-shot", "majority")
    found = {name: row[name] for name in ("task", "role", "n", "correct", *KEPT) if row.get(name) is not None}
    distance = row.get("diversity", {}).get("distance") if row.get("diversity", {}).get("questions") else None
    return {**found, **({"model": row["model"]} if named else {}), **({} if distance is None else {"distance": distance})}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean accuracy of the seeds."""
    heads = ("task", "student", "parameters", "accuracy, by seed", "mean", "rationales learnt from", "distance")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    groups: dict[tuple[str, str, int, int], list[dict[str, Any]]] = {}
    for row in rows:
        role = ", ".join([row["role"], *([row["decoding"]] if "decoding" in row else [])])
        groups.setdefault((row["task"], role, row.get("parameters") or 0, row.get("d") or 0), []).append(row)
    for (task, role, parameters, d), mine in groups.items():
        shares = [row["correct"] / row["n"] for row in mine]
        name = f"{role}, D = {d}" if d else role
        seeds = ", ".join(f"{share:.1%}" for share in shares)
        different = mine[0].get("diversity", {})
        distance = f"{different['distance']:.2f}" if different.get("questions") else "-"
        mean, size = sum(shares) / len(shares), f"{parameters:,}" if parameters else "-"
        lines.append(f"| {task} | {name} | {size} | {seeds} | {mean:.1%} | {mine[0].get('rows', '-')} | {distance} |")
    return "\n".join(lines)
