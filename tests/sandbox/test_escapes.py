"""Hostile code against the sandbox: everything it tries must fail, and nothing outside may notice.

A machine without namespaces fails these tests; it does not skip them.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.calls import raises, run


async def test_there_is_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-outside")
    assert await run("import os; return os.environ.copy() == {'OPENBLAS_NUM_THREADS': '1'}") == 1
    body = """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_char_p
        return libc.getenv(b'OPENAI_API_KEY') is None and libc.getenv(b'PATH') is None
    """
    assert await run(body) == 1


async def test_there_are_no_files_but_pythons_own_and_none_can_be_written(tmp_path: Path) -> None:
    secret = tmp_path / "stillhouse.db"
    secret.write_text("secret")
    for path in (
        "/etc/passwd",
        "/etc/hostname",
        "/proc/1/environ",
        "/proc/self/maps",
        "/dev/mem",
        str(secret),
        str(Path(__file__)),
    ):
        await raises("return len(open(a[0]).read())", "FileNotFoundError", path)
    top = sorted({part.parts[1] for part in map(Path, sys.path) if part.is_absolute() and len(part.parts) > 1})
    assert await run("import os; return set(os.listdir('/')) <= set(a[0])", [*top, *(Path(sys.prefix).parts[1:2])]) == 1
    for place in ("/", "/tmp", os.path.dirname(os.__file__), str(tmp_path)):  # noqa: PTH120
        await raises("open(a[0] + '/new', 'w')", "Read-only file system|No such file|not permitted", place)
        await raises("import os; os.mkdir(a[0] + '/new')", "Read-only file system|No such file|not permitted", place)
    await raises("import os; os.remove(os.__file__)", "Read-only file system|not permitted")
    assert secret.read_text() == "secret"
    assert not (Path(os.__file__).parent / "new").exists()


async def test_it_is_nobody_without_a_capability() -> None:
    body = """
        import ctypes, os
        header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        return (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) == (65534,) * 4
    """
    assert await run(body) == 1
    for call in ("os.setuid(0)", "os.setgid(0)", "os.setgroups([0])", "os.chroot('/')", "os.sethostname('x')", "os.setsid()"):
        await raises(f"import os; {call}", "PermissionError|AttributeError")


CALLS = {
    "ptrace": (101, (16, 1, 0, 0)),
    "process_vm_readv": (310, (1, 0, 0, 0, 0, 0)),
    "mount": (165, (0, 0, 0, 0, 0)),
    "unshare": (272, (0x10000000,)),
    "setns": (308, (0, 0)),
    "clone3": (435, (0, 0)),
    "execve": (59, (0, 0, 0)),
    "execveat": (322, (-100, 0, 0, 0, 0)),
    "kill": (62, (1, 9)),
    "tkill": (200, (1, 9)),
    "bpf": (321, (0, 0, 0)),
    "perf_event_open": (298, (0, 0, 0, 0, 0)),
    "userfaultfd": (323, (0,)),
    "io_uring_setup": (425, (1, 0)),
    "memfd_create": (319, (0, 0)),
    "keyctl": (250, (0, 0, 0)),
    "add_key": (248, (0, 0, 0, 0, 0)),
    "init_module": (175, (0, 0, 0)),
    "prctl": (157, (38, 0, 0, 0, 0)),
    "seccomp": (317, (1, 0, 0)),
    "prlimit64": (302, (0, 7, 0, 0)),
    "pidfd_open": (434, (1, 0)),
    "shmget": (29, (0, 4096, 0o1600)),
    "mknod": (133, (0, 0o60666, 0)),
    "socket": (41, (1, 1, 0)),
    "socketpair": (53, (1, 1, 0, 0)),
    "x32 getpid": (0x40000000 | 39, ()),
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
async def test_system_calls_that_are_no_computing_are_refused() -> None:
    body = """
        import ctypes, errno
        libc = ctypes.CDLL(None, use_errno=True)
        done = []
        for name, (number, arguments) in a[0].items():
            ctypes.set_errno(0)
            result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
            if result != -1 or ctypes.get_errno() != errno.EPERM:
                done.append((name, result, ctypes.get_errno()))
        if done:
            raise AssertionError(done)
        return 1
    """
    assert await run(body, CALLS) == 1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


async def test_there_is_no_network(listener: socket.socket) -> None:
    for address in ("127.0.0.1", "169.254.169.254"):
        await raises(
            "import socket; socket.create_connection((a[0], a[1]), 1)", "PermissionError", address, listener.getsockname()[1]
        )
    await raises("import socket; socket.socket(socket.AF_UNIX)", "PermissionError")
    await raises(
        "import urllib.request; urllib.request.urlopen(a[0])", "not permitted", f"http://127.0.0.1:{listener.getsockname()[1]}"
    )
    with pytest.raises(BlockingIOError):
        listener.accept()


async def test_it_cannot_start_a_process_or_a_thread() -> None:
    await raises("import os\nwhile True: os.fork()", "PermissionError")
    await raises("import subprocess; subprocess.run(['/bin/sh'])", "PermissionError|FileNotFoundError")
    await raises("import os; os.execv('/bin/sh', ['sh'])", "PermissionError")
    await raises("import threading; threading.Thread(target=print).start()", "can't start new thread")
    await raises("import ctypes\nfor _ in range(9): assert ctypes.CDLL(None).vfork() == 0", "AssertionError")


async def test_it_sees_and_signals_nobody() -> None:
    outside = os.getpid()
    assert await run("import os; return os.getpid() == 1 and os.getppid() == 0") == 1
    for target in (outside, os.getppid(), 1, -1, 0):
        await raises("import os; os.kill(a[0], 9)", "PermissionError", target)


async def test_no_file_descriptor_is_inherited(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        body = """
            import os
            found = []
            for number in range(1024):
                try:
                    found.append((number, os.fstat(number).st_mode & 0o170000))
                except OSError:
                    pass
            if any(kind != 0o010000 for _, kind in found):
                raise AssertionError(found)
            return len(found)
        """
        assert await run(body) == 3, "two streams and the answer, all pipes"
