"""Rescue: what lies in an account elsewhere comes here, through the official SDK, under the ids that it has there.

Stored completions, files, evals with their runs and output items, fine-tuning jobs with their events and result files. Taking it
up again asks only for what is not here yet: a thing is entered when all of it is here.
"""

from __future__ import annotations

from stillhouse.rescue.account import Account
from stillhouse.rescue.bringing import RESOURCES, Place, Tally, bring

__all__ = ["RESOURCES", "Account", "Place", "Tally", "bring"]
