"""A ChatModel applied to many requests: labelling and evaluation are this, and what they do with the outcomes.

`asking` asks, `patience` says when to ask again, `journal` keeps what came, so that a run that dies is resumed.
"""

from __future__ import annotations

from stillhouse.apply.asking import Ask, Outcome, apply
from stillhouse.apply.journal import Journal
from stillhouse.apply.patience import Patience

__all__ = ["Ask", "Journal", "Outcome", "Patience", "apply"]
