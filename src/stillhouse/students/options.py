"""`[student.config]` of the students that read a text and give labels or a number; what is left over shapes the network."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from stillhouse.errors import RecipeError
from stillhouse.records import Record, problems_of

Objective = Literal["classification", "pair", "regression", "tokens"]
"""classification: one label a text. pair: one label for two texts. regression: one number a text. tokens: one label a word."""


Options = TypeVar("Options", bound="ReadingOptions")


class ReadingOptions(Record):
    """What every such student can be told."""

    objective: Objective = "classification"
    labels: tuple[str, ...] = ()
    """None: those of the train split, sorted. In this order, where given."""
    heads: Literal["one", "task"] = "one"
    """task: one head for each value of the examples' metadata `task`, whose labels are compared among themselves. Asked, such a
    student is told the task by the last system message."""
    separator: str = Field(default="\n", min_length=1)
    """pair: what stands between the two texts of a message; without one, the last two user messages are the pair."""
    max_length: int | None = Field(default=None, ge=3)
    """Longer texts are cut to so many tokens, taught and asked alike. None: they are refused."""


class EncoderOptions(ReadingOptions):
    """Of an encoder."""

    architecture: Literal["transformers", "compact"] = "transformers"
    """compact: a small network of our own, with a factorised embedding table; made for speed, not loadable by transformers."""
    pooling: Literal["mean", "cls"] | None = None
    """What the head reads: the mean over real tokens, or what the architecture makes of the first one. None: what the base
    says of itself (`1_Pooling` of a sentence encoder), else cls; compact: mean."""


def read_options(kind: type[Options], config: dict[str, Any]) -> tuple[Options, dict[str, Any]]:
    """The options, and what is left for the network. Raises RecipeError naming the field."""
    own = {name: value for name, value in config.items() if name in kind.model_fields}
    try:
        options = kind.model_validate(own)
    except ValidationError as exc:
        raise RecipeError(f"[student.config] does not shape this student: {problems_of(exc)}.") from exc
    twice = sorted({label for label in options.labels if options.labels.count(label) > 1})
    if twice:
        raise RecipeError(f"[student.config] labels has {', '.join(map(repr, twice))} more than once. Name each label once.")
    if options.heads == "task" and options.objective not in ("classification", "pair"):
        raise RecipeError(f'[student.config] heads = "task" is for labels of texts, and objective is "{options.objective}".')
    if options.heads == "task" and options.labels:
        raise RecipeError(
            '[student.config] labels and heads = "task": each task has labels of its own, those of the train split.'
        )
    return options, {name: value for name, value in config.items() if name not in own}
