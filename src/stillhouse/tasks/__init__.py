"""Tasks whose questions are generated, not collected: for the demo, for tests, for the first try of a recipe.

A kind is a function `(count, seed, pool) -> list[Question]`; the table holds strings, so listing the tasks imports none.
"""

from __future__ import annotations

from stillhouse.registry import Table

TASKS = Table(
    "task",
    "tasks",
    {
        "coin_flip": "stillhouse.tasks.coin_flip:coin_flip",
        "last_letters": "stillhouse.tasks.last_letters:last_letters",
    },
)
