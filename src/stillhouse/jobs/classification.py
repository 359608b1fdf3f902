"""What is wished for when texts are to get labels, and what each voter says: the words that asking and publishing share."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from stillhouse.apply import Budget
from stillhouse.labelling import Plan
from stillhouse.records import Record
from stillhouse.routing import Target
from stillhouse.voting import Classification, How, Vote


class Wish(Record):
    """Which texts get which labels, and who says so."""

    source: str
    """A file, or a dataset's name."""
    out: str
    """Name of the dataset that is made."""
    classification: Classification
    teachers: tuple[str, ...] = ()
    functions: Path | None = None
    """A TOML file."""
    column: str = "text"
    answers: Literal["auto", "json", "text"] = "auto"
    """json: a constrained answer (`response_format`). auto: that, unless the teacher refuses it."""
    parameters: dict[str, Any] = {}
    """The API's: temperature, max_completion_tokens, ..."""
    samples: int = Field(default=1, ge=1)
    """Answers of each teacher to each text, which vote for its label."""
    seed: int | None = None
    logprobs: int = Field(default=0, ge=0, le=20)
    """So many likeliest tokens are asked for; how sure an answer is comes from them."""
    how: How = "auto"
    weights: dict[str, float] = {}
    """Of teachers, by name; a function's stands in its file."""
    abstain_below: float = Field(default=0.0, ge=0, le=1)
    """A text whose label is less probable stays without."""
    targets: Literal["hard", "weighted", "soft"] = "weighted"
    """weighted: an example counts as much as its label is probable. soft: it stands there with each of its labels."""
    near_duplicates: float | None = Field(default=0.9, gt=0, le=1)
    """Of a file: similarity from which texts with one label count once. None: only equal ones do."""
    concurrency: int = Field(default=32, ge=1)
    budget: Budget = Budget()
    """For each teacher."""

    def plan(self, model: str, answers: Literal["json", "text"]) -> Plan:
        """What a teacher is asked with."""
        logprobs = {"logprobs": True, "top_logprobs": self.logprobs} if self.logprobs else {}
        constrained = {"response_format": self.classification.response_format} if answers == "json" else {}
        return Plan(model=model, parameters={**self.parameters, **logprobs, **constrained}, samples=self.samples, seed=self.seed)


@dataclass
class Heard:
    """One voter's column."""

    name: str
    votes: list[Vote]
    weight: float = 1.0
    rules: Counter[str] = field(default_factory=Counter)
    target: Target | None = None
