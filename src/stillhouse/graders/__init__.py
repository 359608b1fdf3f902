"""Who gives grades, by name. A new grader is one file here and one line in this table.

Strings only: listing the graders imports none of them.
"""

from __future__ import annotations

from stillhouse.registry import Table

GRADERS = Table(
    "grader",
    "graders",
    {
        "answer": "stillhouse.graders.answer:Answer",
        "exact": "stillhouse.graders.exact:Exact",
        "normalised": "stillhouse.graders.normalised:Normalised",
    },
)
"""Each kind is a class that is built without arguments; `name` is its name in this table."""
