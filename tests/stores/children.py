"""Processes that tests start and kill: `python -m tests.stores.children NAME DATA_DIR`. Each line they print was acknowledged."""

from __future__ import annotations

import resource
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from stillhouse.errors import StoreError
from stillhouse.stores.opening import open_store
from stillhouse.stores.sql import SqlStore
from tests.stores.samples import completion, ended, event, live_server, request_bytes, response_bytes, run_record, settings_in

_output = threading.Lock()


def say(line: str) -> None:
    with _output:
        print(line, flush=True)


def write_until_killed(folder: Path) -> None:
    """Eight clients that begin and finish; each finish that returned is printed."""
    store = open_store(settings_in(folder), role="server")
    threads = [threading.Thread(target=_client, args=(store, number)) for number in range(8)]
    for thread in threads:
        thread.start()


def write_until_full(folder: Path) -> None:
    """Until the file size limit ends it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    write_until_refused(folder)


def write_until_refused(folder: Path) -> None:
    """One exchange after the other; then `refused`, and what a further one gets."""
    store = open_store(settings_in(folder), role="server", on_fatal=lambda error: say("fatal"))
    try:
        while True:
            _exchange(store, "x")
    except StoreError:
        say("refused")
    try:
        _exchange(store, "x")
    except StoreError:
        say("refused again")
    store.close()


def hold_lock(folder: Path) -> None:
    """An SQLite user of another kind: holds the write lock until told to let go."""
    connection = sqlite3.connect(folder / "stillhouse.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    say("locked")
    sys.stdin.readline()
    connection.execute("ROLLBACK")
    connection.close()
    say("released")


def serve(folder: Path) -> None:
    """A live server, until told to stop or killed."""
    with live_server(settings_in(folder)):
        say("serving")
        sys.stdin.readline()


def work(folder: Path) -> None:
    """A long run that says one thing after the other, as told; each acknowledged one is printed."""
    store = open_store(settings_in(folder), role="worker")
    store.put_run(run_record()).result()
    epoch = store.claim_run("run-1", pid=1, boot="a").result()
    assert epoch is not None
    say("working")
    for seq, _ in enumerate(sys.stdin):
        assert store.add_events([event(seq, metrics={"loss": 1.0})], epoch).result()
        say(str(seq))
    store.close()


def _client(store: SqlStore, number: int) -> None:
    count = 0
    while True:
        count += 1
        _exchange(store, f"{number} {count} " + "x" * (count % 2000))


def _exchange(store: SqlStore, text: str) -> None:
    begun = completion(metadata={"text": text[:20]})
    store.begin_completion(begun, request_bytes(text)).result()
    store.finish_completion(ended(begun), response_bytes(text)).result()
    say(f"{begun.id} {text}")


MAINS: dict[str, Callable[[Path], None]] = {
    main.__name__: main for main in (write_until_killed, write_until_full, write_until_refused, hold_lock, serve, work)
}

if __name__ == "__main__":
    MAINS[sys.argv[1]](Path(sys.argv[2]))
