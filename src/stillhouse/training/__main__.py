"""A training run from folders, for torchrun: `torchrun --nproc-per-node 2 -m stillhouse.training RECIPE DATASET WORK`.

    --teacher FOLDER   a local teacher; several times for several, in the order of the recipe's members
    --base FOLDER      pretrained weights to start from
    --signals FOLDER   the teacher's cache

DATASET is a folder as `stillhouse dataset export` writes it, WORK holds checkpoints and then the student. The first process says
what happens, one JSON object a line. SIGTERM and Ctrl-C stop after the step, with a checkpoint; the same command goes on from it.
Names are looked up by `stillhouse train run`, not here.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from threading import Event

from stillhouse.errors import StillhouseError
from stillhouse.recipe import load_recipe
from stillhouse.training import Progress, train

STOPPED = 3
"""Exit status of a run that was asked to stop."""


def main(arguments: list[str] | None = None) -> int:
    """0: the student is there. 3: stopped when asked to. 1: it cannot be run, or had to stop; why is on stderr."""
    options = _options().parse_args(arguments)
    stop = Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    teachers: list[Path] = options.teacher
    try:
        made = train(
            load_recipe(options.recipe, options.change),
            options.dataset,
            options.work,
            report=_say,
            should_stop=stop.is_set,
            teacher_folder=teachers[0] if len(teachers) == 1 else None,
            member_folders=teachers if len(teachers) > 1 else (),
            base_folder=options.base,
            signals_folder=options.signals,
        )
    except StillhouseError as error:
        print(error, file=sys.stderr)
        return 1
    return STOPPED if made is None else 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stillhouse.training", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--teacher", type=Path, action="append", default=[])
    parser.add_argument("--base", type=Path)
    parser.add_argument("--signals", type=Path)
    parser.add_argument("--set", dest="change", action="append", default=[], metavar="KEY=VALUE")
    return parser


def _say(progress: Progress) -> None:
    print(progress.model_dump_json(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
