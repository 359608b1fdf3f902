"""Which stored completions a training file's answers are, told by what was asked and answered: a file says no ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stillhouse.completion import CompletionQuery
from stillhouse.curation import Collected
from stillhouse.errors import RecipeError
from stillhouse.records import problems_of
from stillhouse.sources import read_stored
from stillhouse.workspace import Workspace


def with_sources(workspace: Workspace, collected: Collected, completions: Mapping[str, Any]) -> Collected:
    """The examples with the completion that each came from, where there is one among `completions` (a filter), and its terms.

    Raises RecipeError for a filter that is none.
    """
    try:
        query = CompletionQuery.model_validate(dict(completions))
    except ValidationError as exc:
        raise RecipeError(f"'completions' is no filter of stored completions. {problems_of(exc)}.") from exc
    stored = read_stored(workspace, query)
    known = {example.id: example.source for example in stored.examples}
    found = collected.kept(
        example.model_copy(update={"source": known.get(example.id, example.source)}) for example in collected.examples
    )
    there = {example.source for example in found.examples}
    found.teacher_of = {source: model for source, model in stored.teacher_of.items() if source in there}
    found.upstream_of = {source: name for source, name in stored.upstream_of.items() if source in there}
    named = set(found.upstream_of.values())
    found.may_train = {upstream: terms for upstream, terms in stored.may_train.items() if upstream in named}
    return found
