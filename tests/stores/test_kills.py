"""A writing process killed at random moments: whatever it acknowledged is there, once, unaltered; nothing is half there."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from stillhouse.completion import CompletionQuery
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.stores.processes import child, line_of
from tests.stores.samples import request_bytes, response_bytes

EVERYTHING = CompletionQuery(states=(), limit=1_000_000)


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.full)])
def test_every_acknowledged_exchange_survives_kills(settings: Settings, kills: int) -> None:
    chance = random.Random(kills)
    acknowledged: dict[str, str] = {}
    for _ in range(kills):
        acknowledged.update(_killed_after(settings, chance.randint(1, 400)))
    store = open_store(settings, role="server")
    stored = {item.id: item for item in store.completions(EVERYTHING).items}
    states = {item.state for item in stored.values()}
    for key, text in acknowledged.items():
        payload = store.payload(key)
        assert stored[key].state == "complete"
        assert payload is not None
        assert (payload.request, payload.response) == (request_bytes(text), response_bytes(text))
    assert states <= {"complete", "interrupted"}
    store.close()
    with closing(sqlite3.connect(settings.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    print(f"{kills} kills, {len(acknowledged)} acknowledged, 0 lost, {len(stored) - len(acknowledged)} stored beside them")


def _killed_after(settings: Settings, lines: int) -> dict[str, str]:
    """What it acknowledged until it was killed, right after so many lines."""
    with child("write_until_killed", settings.data_dir) as process:
        said = [line_of(process) for _ in range(lines)]
        process.kill()
        assert process.stdout is not None
        said += [line.rstrip("\n") for line in process.stdout if line.endswith("\n")]
    return {key: text for key, _, text in (line.partition(" ") for line in said)}
