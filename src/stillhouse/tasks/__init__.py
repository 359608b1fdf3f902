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

PAPER_TASKS = Table(
    "generated task",
    "paper_tasks",
    {
        "coin_flip": "stillhouse.tasks.paper:paper_coin_flip",
        "last_letter_concatenation": "stillhouse.tasks.paper:paper_last_letters",
    },
)
"""The two generated ones of the twelve tasks of Ho et al. 2023, in their words and by their keys there; without rationales."""
