"""A teacher explains: questions -> rationales, in two steps (zero-shot CoT), in one (chat models), or after worked examples.

How it is asked is `methods`'; `explaining` does it, through an asker that is handed in and keeps every answer as it comes.
"""

from __future__ import annotations

from stillhouse.explaining.explaining import Asker, Question, explain
from stillhouse.explaining.methods import METHODS, Method

__all__ = ["METHODS", "Asker", "Method", "Question", "explain"]
