"""Which rationales are kept: the options that `cot filter` and `cot import` share, as the fields of one record."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from stillhouse.errors import UsageError
from stillhouse.records import Record

if TYPE_CHECKING:
    from stillhouse.curation.rationales import Rule

RuleOption = Annotated[
    str, typer.Option("--rule", help="numeric: numbers as numbers. published: as a string, as Kojima et al. 2022 do.")
]
Answers = Annotated[
    str | None,
    typer.Option("--answers", metavar="TYPE", help="For tasks that are none of the twelve: number, choice:A-D, yes_no, ..."),
]


class Sieving(Record):
    """What the options say."""

    rule: RuleOption = "numeric"
    answers: Answers = None
    by: Annotated[str, typer.Option("--by", help="right (the gold answer), vote (the majority's) or any.")] = "right"
    vote_share: Annotated[float, typer.Option("--vote-share", min=0, max=1, help="With --by vote: more than this share.")] = 0.0
    grader: Annotated[
        str | None, typer.Option("--grader", help="A grader decides too: rubric:NAME, answer:TYPE, a JSON file.")
    ] = None
    judge: Annotated[str | None, typer.Option("--judge", help="The model that judges, where the grader needs one.")] = None
    min_chars: Annotated[int, typer.Option("--min-chars", min=0, help="Shortest reasoning.")] = 0
    max_chars: Annotated[int | None, typer.Option("--max-chars", min=1, help="Longest reasoning.")] = None
    duplicates: Annotated[bool, typer.Option("--drop-duplicates", help="Of equal reasoning to a question one stays.")] = False
    near: Annotated[
        str, typer.Option("--near-duplicates", metavar="SIMILARITY", help="And of reasoning so similar; 0 to 1, or off.")
    ] = "off"
    truncated: Annotated[bool, typer.Option("--drop-truncated", help="Reasoning that a token limit cut off goes.")] = False
    leaked: Annotated[bool, typer.Option("--drop-leaked", help="Questions that say their answer go.")] = False
    d: Annotated[int | None, typer.Option("-d", "--rationales", min=1, help="At most so many a question.")] = None
    choose: Annotated[str, typer.Option("--choose", help="Which: first, random or different.")] = "first"
    seed: Annotated[int, typer.Option("--seed", help="Of --choose random.")] = 0
    embedder: Annotated[
        str | None,
        typer.Option("--embedder", help="Of --choose different: an upstream's embedding model. Default: word 3-grams."),
    ] = None


WITHOUT_OPTIONS = Sieving()


def with_sieve_options(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with the options in the place of its parameter `sieving`; it is handed them as one `Sieving`."""
    options = get_type_hints(Sieving, include_extras=True)

    @wraps(verb)
    def called(**said: Any) -> None:
        sieving = Sieving(**{name: said.pop(name) for name in Sieving.model_fields})
        verb(**said, sieving=sieving)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(verb, eval_str=True).parameters.values():
        parameters += _parameters(options) if parameter.name == "sieving" else [parameter]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


def _parameters(options: dict[str, Any]) -> list[inspect.Parameter]:
    """The record's fields as typer wants to see them."""
    fields = Sieving.model_fields
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [inspect.Parameter(name, kind, default=fields[name].default, annotation=options[name]) for name in fields]


def rule_of(word: str) -> Rule:
    """How answers are compared. Raises UsageError."""
    from stillhouse.curation.rationales import RULES

    for known in RULES:
        if word == known:
            return known
    raise UsageError(f"There is no rule '{word}'. There are: {', '.join(RULES)}.")
