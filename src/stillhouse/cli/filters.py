"""Which completions a verb is about: the options that several nouns share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.errors import UsageError

if TYPE_CHECKING:
    from stillhouse.completion import CompletionQuery

Model = Annotated[str | None, typer.Option("--model", help="As requested, or as asked of the upstream.", show_default=False)]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Again for more; all must hold.")]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help="2026-11-20, 2026-11-20T08:00, or 7d, 12h ago.")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to this time.")]
FinishReason = Annotated[str | None, typer.Option("--finish-reason", help="stop, length, tool_calls, ...", show_default=False)]
WithText = Annotated[str | None, typer.Option("--text", help="Words in question or answer; Chinese too.", show_default=False)]
Tag = Annotated[str | None, typer.Option("--tag", help="Only completions with this tag.", show_default=False)]
AnyState = Annotated[bool, typer.Option("--any-state", help="Broken, failed and unfinished ones too.")]


def completion_query(
    model: str | None = None,
    metadata: Sequence[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    finish_reason: str | None = None,
    text: str | None = None,
    tag: str | None = None,
    *,
    any_state: bool = False,
) -> CompletionQuery:
    """The filter that the options say. Raises UsageError."""
    from stillhouse.completion import STATES, CompletionQuery

    query = CompletionQuery(
        model=model,
        metadata=pairs(metadata or ()),
        created_after=None if since is None else seconds(since),
        created_before=None if until is None else seconds(until),
        finish_reason=finish_reason,
        text=text,
        tag=tag,
    )
    return query.model_copy(update={"states": STATES}) if any_state else query


def pairs(values: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` words as a mapping. Raises UsageError."""
    split = [value.partition("=") for value in values]
    for (key, equals, _), value in zip(split, values, strict=True):
        if not key or not equals:
            raise UsageError(f"Metadata is written KEY=VALUE, as in task=refund; got '{value}'.")
    return {key: value for key, _, value in split}


def seconds(time: str) -> int:
    """A moment as people write it, in seconds since the epoch: a date, a date and time (local), or `7d`, `12h`, `30m` ago."""
    from datetime import datetime, timedelta

    units = {"d": "days", "h": "hours", "m": "minutes"}
    if time[:-1].isdigit() and time[-1:] in units:
        return int((datetime.now() - timedelta(**{units[time[-1]]: int(time[:-1])})).timestamp())
    try:
        return int(datetime.fromisoformat(time).timestamp())
    except ValueError:
        raise UsageError(f"'{time}' is no time. Write 2026-11-20, 2026-11-20T08:00, or 7d, 12h, 30m for so long ago.") from None
