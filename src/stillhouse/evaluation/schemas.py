"""The JSON schema of an eval's rows: what an eval shows of it, and whether rows fit.

Schemas come from users. Nothing that one refers to is fetched, and one that could keep a process busy for ever on one row (a
regular expression, a reference) is used only where that harms nobody else: in a run's own process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from stillhouse.errors import FormatError
from stillhouse.eval_config import CompletionRow, ContentRow, CustomConfig, DataSourceConfig

SLOW_KEYWORDS = frozenset({"pattern", "patternProperties", "$ref", "$dynamicRef"})


class RowError(FormatError):
    """A row that the eval's schema does not allow; `place` is where, from the row on."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place


def schema_of(config: DataSourceConfig) -> dict[str, Any]:
    """The JSON schema of a run's rows, `item` and `sample`, that an eval shows."""
    item = config.item_schema if isinstance(config, CustomConfig) else STORED_ITEM
    with_sample = not isinstance(config, CustomConfig) or config.include_sample_schema
    return {
        "type": "object",
        "properties": {"item": item, **({"sample": SAMPLE} if with_sample else {})},
        "required": ["item", *(["sample"] if with_sample else [])],
    }


def checked(rows: Iterable[ContentRow], config: DataSourceConfig, *, in_run: bool) -> Iterator[ContentRow]:
    """The same rows, each checked against the eval's schema. Raises RowError for the first that it does not allow.

    In the server (`in_run` false) a schema that could keep it busy is left to the run.
    """
    if not isinstance(config, CustomConfig) or (not in_run and SLOW_KEYWORDS & _keywords(config.item_schema)):
        yield from rows
        return
    from jsonschema.exceptions import ValidationError, best_match
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = validator_for(config.item_schema)(config.item_schema, registry=Registry())  # nothing is fetched
    for number, row in enumerate(rows):
        if isinstance(row, CompletionRow) and row.deleted:
            yield row
            continue
        try:
            problem: ValidationError | None = best_match(validator.iter_errors(row.item))
        except (Unresolvable, RecursionError) as exc:
            raise RowError(f"The eval's item_schema cannot be used: {type(exc).__name__}: {exc}", "") from exc
        if problem is not None:
            path = ".".join(str(step) for step in problem.absolute_path)
            place = f"{number}.item{'.' if path else ''}{path}"
            raise RowError(f"Row {number} does not fit the eval's item_schema: {path or 'item'}: {problem.message[:300]}", place)
        yield row


def check_schema(schema: dict[str, Any]) -> None:
    """Raises FormatError for what is no JSON schema."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as exc:
        path = ".".join(str(step) for step in exc.absolute_path)
        raise FormatError(f"item_schema is no JSON schema{f' at {path}' if path else ''}: {exc.message[:300]}") from exc
    except RecursionError as exc:
        raise FormatError("item_schema is nested too deeply.") from exc


SAMPLE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "choices": {"type": "array", "items": {"type": "object"}},
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array", "items": {"type": "object"}},
        "input": {"type": "array", "items": {"type": "object"}},
        "finish_reason": {"type": ["string", "null"]},
        "usage": {"type": ["object", "null"]},
    },
    "required": ["output_text"],
}
STORED_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "input": {"type": "array", "items": {"type": "object"}},
        "input_text": {"type": "string"},
        "output_text": {"type": "string"},
        "metadata": {"type": "object"},
    },
    "required": ["input", "output_text"],
}


def _keywords(schema: object) -> set[str]:
    if isinstance(schema, dict):
        return set(schema).union(*map(_keywords, schema.values()))
    return set().union(*map(_keywords, schema)) if isinstance(schema, list) else set()
