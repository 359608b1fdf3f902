"""What the graders share: a configuration's first fields, what they are handed, texts from templates, how a verdict is written.

The protocol itself lives beside its record, in `stillhouse.grade`; which grader a configuration means is `building`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from stillhouse.chat import ChatModel
from stillhouse.errors import NotFoundError
from stillhouse.grade import Grade, GradingError
from stillhouse.records import Record
from stillhouse.sample import Item, Sample
from stillhouse.sandbox import Sandbox
from stillhouse.similarity import Embedder, Ngrams
from stillhouse.templates import Template, TemplateError, VariableError, Wrap, fill

SHOWN = 80
"""Characters of a text that a reason quotes."""


class GraderConfig(Record):
    """How one grader is configured, as it is sent and kept. Each kind adds its own fields."""

    type: str
    """Its kind: a name in the table of graders."""
    name: str
    """What its grades are called; formulas and reports know it by this."""

    def as_sent(self) -> dict[str, Any]:
        """What was given, and no default besides."""
        return self.model_dump(mode="json", exclude_unset=True)


def _parses(text: str) -> str:
    try:
        Template.parse(text)
    except TemplateError as exc:
        raise ValueError(str(exc)) from exc
    return text


TemplateText = Annotated[str, AfterValidator(_parses)]
"""A text whose `{{item.x}}` and `{{sample.x}}` are filled in for every row."""
Threshold = Annotated[float | None, Field(allow_inf_nan=False)]
"""The least score that passes; None for the middle of the range."""
HALF = 0.5


def _no_model(name: str) -> ChatModel:
    raise NotFoundError(f"There is nobody here to resolve the model '{name}'.")


@dataclass(frozen=True)
class Means:
    """What a grader may use; the face that builds it knows how to get it."""

    model: Callable[[str], ChatModel] = _no_model
    """A judge by its model id. Raises NotFoundError. Whoever hands it in closes what it gave."""
    embedder: Embedder = field(default_factory=Ngrams)
    sandbox: Sandbox | None = field(default_factory=Sandbox)
    """Where users' code runs; None refuses graders of kind `python`."""


def filled(value: Any, item: Item, sample: Sample, wrap: Wrap | None = None) -> Any:
    """A template, or a JSON value of templates, for one row. Raises GradingError for a variable that the row lacks."""
    try:
        return fill(value, {"item": item, "sample": sample}, wrap)
    except VariableError as exc:
        no_json = exc.variable.steps[:1] == ("output_json",) and "output_json" not in sample
        if exc.variable.namespace == "sample" and no_json:
            raise GradingError(f"{{{{{exc.variable.written}}}}}: the answer is no JSON.", "sample_parse_error") from exc
        raise GradingError(str(exc), "invalid_variable_error") from exc


def reference_of(item: Item) -> str:
    """What the graders without a template compare with. Raises GradingError."""
    return str(filled("{{item.reference}}", item, {}))


def output_text(sample: Sample) -> str:
    """What they judge. Raises GradingError."""
    return str(filled("{{sample.output_text}}", {}, sample))


def verdict(passed: bool, want: str, got: str) -> Grade:
    """1 or 0, and what stood where something else was wanted."""
    reason = "" if passed else f"expected {shown(want)}, got {shown(got)}"
    return Grade(score=1.0 if passed else 0.0, passed=passed, reason=reason)


def shown(text: str) -> str:
    """A text as a reason quotes it: in quotes, cut where it is long."""
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")
