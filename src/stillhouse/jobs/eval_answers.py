"""What a run answered, row by row; a block that a deletion rewrites while others read is looked up again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stillhouse.errors import NotFoundError
from stillhouse.evaluation.blocks import rows_in
from stillhouse.grade import Answered
from stillhouse.jobs.eval_rows import run_files
from stillhouse.jobs.evals import EvalRun, find_run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store


def answered_rows(store: Store, settings: Settings, run: EvalRun) -> Iterator[Answered]:
    """Every row, a block at a time in memory. Raises NotFoundError where the run is gone, StoreError, FormatError."""
    return rows_in(run.record.blocks, block_reader(store, settings, run))


def block_reader(store: Store, settings: Settings, run: EvalRun) -> Callable[[str], bytes]:
    """The bytes of the run's blocks by their names, as whatever reads blocks wants it; as they are by now."""
    files, places = run_files(settings, run.id), {block.file: place for place, block in enumerate(run.record.blocks)}

    def get(name: str) -> bytes:
        now = name
        while True:
            try:
                return files.get(now)
            except NotFoundError:
                later = find_run(store, run.id).record.blocks[places[name]].file
                if later == now:
                    raise
                now = later

    return get
