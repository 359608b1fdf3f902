"""The teacher cache on disk: what a teacher said about each example, written once, read by every run. numpy only, no torch.

A cache is a folder named by what decides its content (`key.py`). Who asks the teacher is not known here, nor what a loss makes
of the answer: rows come and go as plain arrays, in one of four tiers (`tiers.py`).
"""

from __future__ import annotations

from stillhouse.signals.key import Entry, Key, Shape, Tier
from stillhouse.signals.reading import SignalReader
from stillhouse.signals.shelf import Cached, caches, remove_cache
from stillhouse.signals.tiers import HiddenRows, Rows, SampledRows, ScoreRows, TopRows, sampled_rows
from stillhouse.signals.writing import SignalWriter

__all__ = [
    "Cached",
    "Entry",
    "HiddenRows",
    "Key",
    "Rows",
    "SampledRows",
    "ScoreRows",
    "Shape",
    "SignalReader",
    "SignalWriter",
    "Tier",
    "TopRows",
    "caches",
    "remove_cache",
    "sampled_rows",
]
