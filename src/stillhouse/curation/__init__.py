"""Completions and files -> datasets: collect, remove duplicates, split, check for leaks, make the next version.

Each step is a file and a function from records to records; `build` runs them in order. Names are looked up by the faces:
what comes in here is completions, rows, a grader, a function that finds a folder.
"""

from __future__ import annotations

from stillhouse.curation.build import Options, Version, build, save
from stillhouse.curation.collect import Collected, collect, collect_rows, keep_right
from stillhouse.curation.compare import Diff, check, diff
from stillhouse.curation.iterate import extend, similar_prompts
from stillhouse.curation.leaks import Leak, LeakError, find_leaks

__all__ = [
    "Collected",
    "Diff",
    "Leak",
    "LeakError",
    "Options",
    "Version",
    "build",
    "check",
    "collect",
    "collect_rows",
    "diff",
    "extend",
    "find_leaks",
    "keep_right",
    "save",
    "similar_prompts",
]
