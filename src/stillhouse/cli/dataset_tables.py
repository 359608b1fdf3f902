"""What `stillhouse dataset` shows of a version: its splits, its rows, what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stillhouse.cli.output import new_table

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.dataset import Dataset, Example


def made_table(dataset: Dataset) -> Table:
    """Rows of each split, and what was left out, by reason."""
    table = new_table(f"{dataset.name} {dataset.short}", ">rows")
    for split, count in dataset.counts.items():
        table.add_row(split, f"{count:,}")
    for reason, count in sorted(dataset.removed.items(), key=lambda item: -item[1]):
        table.add_row(f"left out: {reason}", f"{count:,}")
    if dataset.waived_leaks:
        table.add_row("leaking pairs accepted", f"{dataset.waived_leaks:,}")
    return table


def examples_table(examples: list[Example]) -> Table:
    """One row each, long texts cut."""
    from rich.text import Text

    from stillhouse.transcript import message_text

    table = new_table("split", "question", "answer", "source")
    for example in examples:
        question = message_text(example.messages[-1]) if example.messages else ""
        cells = (example.split, question[:200], example.answer[:200], example.source or "-")
        table.add_row(*(Text(cell) for cell in cells))
    return table


def lines_table(lines: list[str]) -> Table:
    """Sentences, one below the other."""
    from rich.text import Text

    table = new_table("")
    table.show_header = False
    for line in lines:
        table.add_row(Text(line))
    return table
