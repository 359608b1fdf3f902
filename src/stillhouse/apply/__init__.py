"""A ChatModel applied to many requests: labelling and evaluation are this, and what they do with the outcomes.

`apply` holds everything in memory, `Asking` with a `Ledger` nothing: answers are on disk as they come, budgets are kept, and what
was killed goes on. `limits` learns how many requests at a time an upstream bears, `patience` says when to ask again.
`remembering` says again what a judge said before.
"""

from __future__ import annotations

from stillhouse.apply.asking import Ask, Asking, Outcome, apply, together
from stillhouse.apply.budget import Amount, Budget, Meter
from stillhouse.apply.failures import is_load, kind_of
from stillhouse.apply.journal import Journal
from stillhouse.apply.ledger import Ledger
from stillhouse.apply.limits import Limit
from stillhouse.apply.patience import Patience
from stillhouse.apply.remembering import Remembering
from stillhouse.apply.tally import Standing, Tally

__all__ = [
    "Amount",
    "Ask",
    "Asking",
    "Budget",
    "Journal",
    "Ledger",
    "Limit",
    "Meter",
    "Outcome",
    "Patience",
    "Remembering",
    "Standing",
    "Tally",
    "apply",
    "is_load",
    "kind_of",
    "together",
]
