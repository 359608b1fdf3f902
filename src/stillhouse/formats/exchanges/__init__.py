"""Whole exchanges in files: our own lines, and the logs of other tools, each read by a module of its own."""

from __future__ import annotations

from stillhouse.formats.exchanges.lines import Exchange, Origin, exchange_line, exchange_of, read_exchanges
from stillhouse.registry import Table

LOGS = Table(
    "log format",
    "logs",
    {
        "langfuse": "stillhouse.formats.exchanges.langfuse:row_of",
        "litellm": "stillhouse.formats.exchanges.litellm:row_of",
        "promptfoo": "stillhouse.formats.exchanges.promptfoo:row_of",
    },
)
"""Tool -> what makes one entry of its export a row of ours: `row_of(entry) -> dict`, raising ValueError where it cannot."""

__all__ = ["LOGS", "Exchange", "Origin", "exchange_line", "exchange_of", "read_exchanges"]
