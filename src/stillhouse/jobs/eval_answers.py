"""What a run answered, row by row; a block that a deletion rewrites while others read is looked up again."""

from __future__ import annotations

from collections.abc import Iterator

from stillhouse.errors import NotFoundError
from stillhouse.evaluation.blocks import rows_in
from stillhouse.grade import Answered
from stillhouse.jobs.eval_rows import run_files
from stillhouse.jobs.evals import EvalRun, find_run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store


def answered_rows(store: Store, settings: Settings, run: EvalRun) -> Iterator[Answered]:
    """Every row, a block at a time in memory. Raises NotFoundError where the run is gone, StoreError, FormatError."""
    for place in range(len(run.record.blocks)):
        yield from _block(store, settings, run, place)


def _block(store: Store, settings: Settings, run: EvalRun, place: int) -> list[Answered]:
    block, files = run.record.blocks[place], run_files(settings, run.id)
    while True:
        try:
            return list(rows_in([block], files.get))
        except NotFoundError:
            now = find_run(store, run.id).record.blocks[place]
            if now == block:
                raise
            block = now
