"""Networks and pipelines that are trained and served, by kind. Listing them imports none."""

from __future__ import annotations

from stillhouse.registry import Table

STUDENTS = Table(
    "student kind",
    "students",
    {
        "causal": "stillhouse.students.causal:CausalStudent",
        "linear": "stillhouse.students.linear:LinearStudent",
    },
)
