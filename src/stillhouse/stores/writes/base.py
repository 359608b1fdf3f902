"""What a named write is: JSON-able arguments (bytes allowed) in, one result for each out; no clock, no randomness inside.

So the same write can run here, be sent to the live server, or wait in the spool, and have the same effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection

from stillhouse.stores.dialects import Dialect

Arguments = dict[str, Any]

T = TypeVar("T")


@dataclass(frozen=True)
class Operation:
    """`apply` takes every call of one kind in a group at once, for the sake of executemany.

    Operations with a `rank` commute with each other across completions, so a group may run them sorted by it; one without runs
    exactly where it was submitted. `spools`: it may be kept in the spool while the database is locked.
    """

    apply: Callable[[Connection, Dialect, Sequence[Arguments]], Sequence[Any]]
    rank: int | None = None
    spools: bool = False


def each(
    apply: Callable[..., Any],
) -> Callable[[Connection, Dialect, Sequence[Arguments]], Sequence[Any]]:
    """For rare operations: `apply(connection, dialect, **arguments)` one after the other."""

    def all_of_them(connection: Connection, dialect: Dialect, calls: Sequence[Arguments]) -> Sequence[Any]:
        return [apply(connection, dialect, **call) for call in calls]

    return all_of_them


def chunks(items: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Databases bound how many values one statement may hold."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
