"""Disks that fill up, databases that others lock, files that were altered: refused in plain words, or kept aside; never lost."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest

from stillhouse.completion import CompletionQuery
from stillhouse.errors import StoreBusyError, StoreError
from stillhouse.settings import Settings
from stillhouse.stores.base import UsageCount
from stillhouse.stores.opening import open_store
from stillhouse.upstream import Upstream
from tests.stores.processes import child, line_of, tell
from tests.stores.samples import completion, ended, keep, request_bytes, response_bytes

EVERYTHING = CompletionQuery(states=(), limit=100_000)


def test_when_the_disk_refuses_nothing_more_is_acknowledged_and_nothing_acknowledged_is_lost(settings: Settings) -> None:
    acknowledged: list[str] = []
    with child("write_until_full", settings.data_dir) as process:
        while (line := line_of(process)).startswith("chatcmpl-"):
            acknowledged.append(line.split(" ")[0])
        rest = [line, line_of(process), line_of(process)]
        assert process.wait(30) == 0
    assert rest == ["fatal", "refused", "refused again"]
    assert len(acknowledged) > 10
    store = open_store(settings, role="server")
    complete = {item.id for item in store.completions(CompletionQuery(limit=100_000)).items}
    assert set(acknowledged) <= complete
    assert store.health()["problems"] == []
    store.close()


FAILING_FSYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int broken(void) { return access(getenv("BROKEN_DISK"), F_OK) == 0; }
int fsync(int fd) { if (broken()) { errno = EIO; return -1; } return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { if (broken()) { errno = EIO; return -1; } return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, for an fsync that fails")
def test_after_a_failed_fsync_nothing_more_is_acknowledged(settings: Settings, tmp_path: Path) -> None:
    source, library, broken = tmp_path / "fsync.c", tmp_path / "fsync.so", tmp_path / "broken"
    source.write_text(FAILING_FSYNC)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    acknowledged: list[str] = []
    environment = {"LD_PRELOAD": str(library), "BROKEN_DISK": str(broken)}
    with child("write_until_refused", settings.data_dir, environment) as process:
        while (line := line_of(process)).startswith("chatcmpl-"):
            acknowledged.append(line.split(" ")[0])
            if len(acknowledged) == 20:
                broken.touch()
        assert [line, line_of(process), line_of(process)] == ["fatal", "refused", "refused again"]
        assert process.wait(30) == 0
    assert len(acknowledged) >= 20
    store = open_store(settings, role="server")
    assert set(acknowledged) <= {item.id for item in store.completions(CompletionQuery(limit=100_000)).items}
    store.close()


def test_while_another_process_locks_the_database_exchanges_are_kept_aside_then_replayed(settings: Settings) -> None:
    store = open_store(settings, role="server", lock_timeout=0.2)
    count = UsageCount(day="2026-11-20", upstream="u", model="m", stored=True, requests=1)
    with child("hold_lock", settings.data_dir) as process:
        assert line_of(process) == "locked"
        begun = [completion() for _ in range(20)]
        for item in begun:
            store.begin_completion(item, request_bytes("q")).result(30)
            store.count_usage(count).result(30)
            store.finish_completion(ended(item), response_bytes("a")).result(30)
        with pytest.raises(StoreBusyError, match="locked"):
            store.put_upstream(Upstream(name="u", base_url="http://u")).result(30)
        tell(process)
        assert line_of(process) == "released"
    store.put_upstream(Upstream(name="u", base_url="http://u")).result(30)
    assert store.completions(EVERYTHING).items == [ended(item) for item in begun]
    assert store.usage() == [count.model_copy(update={"requests": 20})]
    assert list((settings.data_dir / "spool").iterdir()) == []
    store.close()


def test_what_was_kept_aside_survives_the_server(settings: Settings) -> None:
    store = open_store(settings, role="server", lock_timeout=0.2)
    begun = completion()
    with child("hold_lock", settings.data_dir) as process:
        assert line_of(process) == "locked"
        store.begin_completion(begun, request_bytes("q")).result(30)
        store.finish_completion(ended(begun), response_bytes("a")).result(30)
        store.close()
        segments = list((settings.data_dir / "spool").iterdir())
        tell(process)
        assert line_of(process) == "released"
    torn = segments[-1].read_bytes()
    segments[-1].write_bytes(torn + torn[: len(torn) // 2])  # a kill in the middle of the next append
    copies = [(path, path.read_bytes()) for path in segments]
    for _ in range(2):
        reopened = open_store(settings, role="server")
        assert reopened.completions(EVERYTHING).items == [ended(begun)]
        payload = reopened.payload(begun.id)
        assert payload is not None
        assert payload.response == response_bytes("a")
        reopened.close()
        for path, content in copies:  # as if it had died between the commit and the segment's removal
            path.write_bytes(content)


def test_an_altered_spool_is_refused_not_skipped(settings: Settings) -> None:
    store = open_store(settings, role="server", lock_timeout=0.1)
    with child("hold_lock", settings.data_dir) as process:
        assert line_of(process) == "locked"
        for _ in range(2):
            store.begin_completion(completion(), request_bytes("q")).result(30)
        store.close()
        tell(process)
        assert line_of(process) == "released"
    (segment,) = (settings.data_dir / "spool").iterdir()
    content = bytearray(segment.read_bytes())
    content[20] ^= 1
    segment.write_bytes(content)
    with pytest.raises(StoreError, match="was altered"):
        open_store(settings, role="server")
    segment.unlink()
    open_store(settings, role="server").close()


def test_an_altered_payload_is_reported_and_the_rest_is_there(settings: Settings) -> None:
    store = open_store(settings, role="server")
    one, two = keep(store), keep(store)
    store.close()
    with closing(sqlite3.connect(settings.database)) as connection, connection:
        where = "WHERE completion_id = ? AND part = 'response'"
        (data,) = connection.execute(f"SELECT data FROM payloads {where}", (one,)).fetchone()
        altered = bytes([*data[:-1], data[-1] ^ 1])
        connection.execute(f"UPDATE payloads SET data = ? {where}", (altered, one))
    store = open_store(settings, role="server")
    with pytest.raises(StoreError, match=one):
        store.payload(one)
    assert store.payload(two) is not None
    store.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.database.write_bytes(b"this is not a database, " * 100)
    with pytest.raises(StoreError, match=r"stillhouse\.db"):
        open_store(settings, role="server")
    assert settings.database.read_bytes().startswith(b"this is not")


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="--data-dir"):
        open_store(Settings(data_dir=tmp_path / "file" / "data"))


def test_readers_are_not_disturbed_by_writers(settings: Settings) -> None:
    store = open_store(settings, role="server")
    first = keep(store)
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                assert store.completions(CompletionQuery(limit=1)).items[0].id == first
                assert store.payload(first) is not None
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    futures: list[Future[None]] = []
    for _ in range(300):
        begun = completion()
        futures += [store.begin_completion(begun, b"{}"), store.finish_completion(ended(begun), b"{}")]
    for future in futures:
        future.result(30)
    done.set()
    for thread in threads:
        thread.join()
    store.close()
    assert failures == []
