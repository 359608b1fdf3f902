"""What was used, by day and model: counted in memory, written once a second. Counts, never contents.

A crash may lose the last second of counts; the completions themselves do not depend on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import UTC, datetime

from stillhouse.chat import Usage
from stillhouse.errors import StoreError
from stillhouse.stores.base import CompletionStore, UsageCount

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0


class Meter:
    """The counts that are not in the store yet."""

    def __init__(self, store: CompletionStore) -> None:
        self._store = store
        self._counts: dict[tuple[str, str, str, bool], list[int]] = defaultdict(lambda: [0, 0, 0, 0])

    def count(self, upstream: str, model: str, *, stored: bool, failed: bool, usage: Usage) -> None:
        """One request more."""
        count = self._counts[(datetime.now(UTC).date().isoformat(), upstream, model, stored)]
        count[0] += 1
        count[1] += failed
        count[2] += usage.prompt_tokens or 0
        count[3] += usage.completion_tokens or 0

    async def flush(self) -> None:
        """Write what has been counted; keep it for the next time if the store cannot."""
        counts, self._counts = self._counts, defaultdict(lambda: [0, 0, 0, 0])
        for (day, upstream, model, stored), (requests, failed, prompt, completion) in counts.items():
            row = UsageCount(
                day=day, upstream=upstream, model=model, stored=stored,
                requests=requests, failed=failed, prompt_tokens=prompt, completion_tokens=completion,
            )  # fmt: skip
            try:
                await asyncio.wrap_future(self._store.count_usage(row))
            except StoreError as exc:
                log.warning("usage counts are kept in memory: %s", exc)
                self._add((day, upstream, model, stored), (requests, failed, prompt, completion))

    async def run(self) -> None:
        """Flush for as long as the task lives."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    def _add(self, key: tuple[str, str, str, bool], numbers: tuple[int, int, int, int]) -> None:
        count = self._counts[key]
        for index, number in enumerate(numbers):
            count[index] += number
