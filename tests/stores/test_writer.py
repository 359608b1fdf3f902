"""The writer thread: groups, order, and what happens to those who wait when it ends or fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from stillhouse.errors import StoreError
from stillhouse.stores.writer import MAX_GROUP, Outcome, Write, Writer


class GatedBackend:
    """Applies nothing until the gate is opened; remembers the groups it got."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.groups: list[list[str]] = []
        self.closed = False

    def apply(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self.groups.append([write.name for write in writes])
        self.entered.set()
        assert self.gate.wait(30)
        if "mistake" in self.groups[-1]:
            raise AssertionError("our own mistake")
        return [Outcome(write.name) for write in writes]

    def idle(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def test_what_waits_is_taken_as_one_group_in_order() -> None:
    backend = GatedBackend()
    writer = Writer(backend)
    first = writer.submit(Write("first", {}))
    assert backend.entered.wait(30)
    names = [str(n) for n in range(MAX_GROUP + 10)]
    futures = [writer.submit(Write(name, {})) for name in names]
    backend.gate.set()
    assert [first.result(30), *(future.result(30) for future in futures)] == ["first", *names]
    assert backend.groups == [["first"], names[:MAX_GROUP], names[MAX_GROUP:]]
    writer.close()
    assert backend.closed


def test_closing_applies_what_waits_and_refuses_what_comes_later() -> None:
    backend = GatedBackend()
    writer = Writer(backend)
    futures = [writer.submit(Write(str(n), {})) for n in range(3)]
    backend.gate.set()
    writer.close()
    writer.close()
    assert [future.result(0) for future in futures] == ["0", "1", "2"]
    with pytest.raises(StoreError, match="closed"):
        writer.submit(Write("late", {}))


def test_a_cancelled_write_is_not_applied() -> None:
    backend = GatedBackend()
    writer = Writer(backend)
    first = writer.submit(Write("first", {}))
    assert backend.entered.wait(30)
    cancelled, last = writer.submit(Write("cancelled", {})), writer.submit(Write("last", {}))
    assert cancelled.cancel()
    backend.gate.set()
    assert (first.result(30), last.result(30)) == ("first", "last")
    assert backend.groups == [["first"], ["last"]]
    writer.close()


def test_a_mistake_of_ours_reaches_the_callers_and_the_thread_lives_on() -> None:
    backend = GatedBackend()
    backend.gate.set()
    writer = Writer(backend)
    with pytest.raises(AssertionError, match="our own mistake"):
        writer.submit(Write("mistake", {})).result(30)
    assert writer.submit(Write("fine", {})).result(30) == "fine"
    writer.close()
