"""One process writes a database: who holds the lock, how writes reach a live server, and servers that come and go."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from stillhouse.completion import CompletionQuery
from stillhouse.errors import StoreBusyError, StoreError, UsageError
from stillhouse.settings import Settings
from stillhouse.stores.dialects import SQLite
from stillhouse.stores.local import LocalBackend
from stillhouse.stores.lock import NOTE_NAME, DatabaseLock, published_server, server_is_live
from stillhouse.stores.opening import open_store
from stillhouse.stores.remote import RemoteServer, apply_remote_writes
from stillhouse.stores.spool import Spool
from stillhouse.stores.writer import Write
from stillhouse.upstream import Upstream
from tests.stores.processes import child, line_of, tell
from tests.stores.samples import keep, live_server, run_record

UPSTREAM = Upstream(name="u", base_url="http://u")


def test_a_server_is_live_while_it_holds_the_lock_and_no_longer(settings: Settings) -> None:
    assert not server_is_live(settings.data_dir)
    with live_server(settings):
        assert server_is_live(settings.data_dir)
        note = (settings.data_dir / NOTE_NAME).read_bytes()
    assert not server_is_live(settings.data_dir)
    (settings.data_dir / NOTE_NAME).write_bytes(note)  # left by one that was killed
    assert not server_is_live(settings.data_dir)
    other = DatabaseLock(settings.data_dir)
    assert other.acquire()
    (settings.data_dir / NOTE_NAME).write_bytes(note.replace(str(os.getpid()).encode(), b"1"))
    assert not server_is_live(settings.data_dir)  # a command has the lock
    other.release()


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    one, two = DatabaseLock(tmp_path), DatabaseLock(tmp_path)
    assert one.acquire()
    assert one.acquire()
    assert not two.acquire()
    assert not two.acquire_within(0.05)
    assert two.holder() == f"process {os.getpid()}"
    one.release()
    one.release()
    assert two.acquire()
    two.release()


def test_a_lock_that_could_not_note_its_holder_is_held_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    first, second = DatabaseLock(tmp_path), DatabaseLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_a_second_server_is_refused_and_told_why(settings: Settings) -> None:
    server = open_store(settings, role="server")
    with pytest.raises(StoreBusyError, match=f"process {os.getpid()}"):
        open_store(settings, role="server", patience=0)
    server.close()
    open_store(settings, role="server", patience=0).close()


def test_the_lock_dies_with_its_holder(settings: Settings) -> None:
    with child("serve", settings.data_dir) as process:
        assert line_of(process) == "serving"
        with pytest.raises(StoreBusyError):
            open_store(settings, role="server", patience=0)
        process.kill()
        process.wait(30)
        store = open_store(settings, role="server", patience=0)
    assert published_server(settings.data_dir) is None
    store.close()


def test_a_command_that_only_reads_needs_no_lock(settings: Settings) -> None:
    holder = DatabaseLock(settings.data_dir)
    assert holder.acquire()
    command = open_store(settings, patience=0)
    assert command.completions(CompletionQuery()).items == []
    with pytest.raises(StoreBusyError, match="--data-dir"):
        command.put_upstream(UPSTREAM).result()
    holder.release()
    command.put_upstream(UPSTREAM).result()
    assert command.upstreams() == [UPSTREAM]
    command.close()


def test_a_command_keeps_the_lock_a_worker_gives_it_back(settings: Settings) -> None:
    other = DatabaseLock(settings.data_dir)
    command = open_store(settings, role="command")
    command.put_upstream(UPSTREAM).result()
    assert not other.acquire()
    command.close()
    worker = open_store(settings, role="worker")
    worker.put_upstream(UPSTREAM).result()
    assert other.acquire()
    other.release()
    worker.put_upstream(UPSTREAM).result()
    worker.close()


def test_the_note_of_a_server_is_for_its_owner_only_and_goes_with_it(settings: Settings) -> None:
    with live_server(settings):
        note = settings.data_dir / NOTE_NAME
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
        assert json.loads(note.read_text())["pid"] == os.getpid()
    assert not note.exists()


def test_a_wrong_token_writes_nothing(settings: Settings) -> None:
    with live_server(settings) as server:
        note = published_server(settings.data_dir)
        assert note is not None
        (settings.data_dir / NOTE_NAME).write_bytes(note.model_copy(update={"token": "wrong"}).json_bytes())
        command = open_store(settings, patience=0)
        with pytest.raises(StoreBusyError):
            command.put_upstream(UPSTREAM).result()
        assert server.upstreams() == []
        command.close()


def test_a_group_sent_twice_takes_effect_once(settings: Settings) -> None:
    with live_server(settings) as server:
        note = published_server(settings.data_dir)
        assert note is not None
        remote = RemoteServer(note)
        count = {"day": "d", "upstream": "u", "model": "m", "stored": True, "requests": 1, "failed": 0}
        write = Write("count_usage", {**count, "prompt_tokens": 0, "completion_tokens": 0}, id="write-1")
        tag = Write("tag_completions", {"ids": [keep(server)], "add": ["a"], "remove": []}, id="write-2")
        results = [[outcome.value for outcome in remote.apply([write, tag])] for _ in range(3)]
        remote.close()
        assert results == [[None, 1]] * 3
        assert server.usage()[0].requests == 1


def test_a_write_sent_again_before_its_first_copy_was_applied_takes_effect_once(settings: Settings) -> None:
    open_store(settings, role="server").close()
    count = {"day": "d", "upstream": "u", "model": "m", "stored": True, "requests": 1, "failed": 0}
    arguments = {**count, "prompt_tokens": 0, "completion_tokens": 0}
    claim = {"id": "run-1", "pid": 1, "boot": "b", "now": 0.0}
    run = run_record().model_dump(mode="json")
    group = [Write("count_usage", arguments, id="write-1"), Write("put_run", {"run": run}, id="write-2")]
    group.append(Write("claim_run", claim, id="write-3"))
    backend = LocalBackend(SQLite(settings.database), Spool(settings.data_dir / "spool"))
    outcomes = backend.apply([*group, *group])
    backend.close()
    assert [outcome.value for outcome in outcomes] == [None, None, 1] * 2
    store = open_store(settings)
    assert store.usage()[0].requests == 1
    store.close()


def test_what_is_no_group_of_writes_is_refused(settings: Settings) -> None:
    store = open_store(settings, role="server")
    for body in (b"", b"[]", b'{"writes":[{}]}', b'{"writes":1}'):
        with pytest.raises(UsageError, match="group of writes"):
            apply_remote_writes(store, body)
    with pytest.raises(UsageError, match="drop_table"):
        apply_remote_writes(store, b'{"writes":[{"id":"1","name":"drop_table","arguments":{}}]}')
    store.close()


def test_a_write_that_the_server_does_not_know_is_refused_at_once(settings: Settings) -> None:
    with live_server(settings):
        command = open_store(settings, patience=600)
        with pytest.raises(StoreError, match="no write named fly"):
            command.submit("fly", {}).result(30)
        command.close()


def test_a_run_loses_nothing_while_servers_come_and_go(settings: Settings) -> None:
    """Alone, under a live server, after its kill, under another, and alone again."""
    said = 0

    def speaks(times: int) -> None:
        nonlocal said
        for _ in range(times):
            tell(worker)
            assert line_of(worker) == str(said)
            said += 1

    with child("work", settings.data_dir) as worker:
        assert line_of(worker) == "working"
        speaks(3)
        for kills in (True, False):
            with child("serve", settings.data_dir) as server:
                assert line_of(server) == "serving"
                speaks(3)
                if not kills:
                    tell(server)
                    assert server.wait(30) == 0
            speaks(3)
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(30) == 0
    store = open_store(settings)
    assert [event.seq for event in store.events("run-1")] == list(range(said))
    store.close()


def test_a_write_waits_for_the_server_that_is_starting(settings: Settings) -> None:
    """The lock is held, the note not there yet: the write is neither refused nor lost, whoever gets the lock next."""
    starting = DatabaseLock(settings.data_dir)
    assert starting.acquire()
    worker = open_store(settings, role="worker", patience=30)
    waiting = worker.put_upstream(UPSTREAM)
    assert not waiting.done()
    starting.release()
    with live_server(settings) as server:
        waiting.result(30)
        assert server.upstreams() == [UPSTREAM]
        worker.close()
