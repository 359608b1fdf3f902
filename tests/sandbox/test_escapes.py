"""Hostile code against the sandbox: everything it tries must fail, and nothing outside may notice.

A machine without namespaces fails these tests; it does not skip them.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.sandbox import CodeError, Limits, Sandbox, running


async def run(body: str, *arguments: object, limits: Limits | None = None) -> float:
    """What `body`, as a function of `a`, returns in the sandbox."""
    source = "def f(*a):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    return await Sandbox(limits).call(source, "f", arguments)


async def raises(body: str, expected: str, *arguments: object, limits: Limits | None = None) -> CodeError:
    with pytest.raises(CodeError, match=expected) as failed:
        await run(body, *arguments, limits=limits)
    return failed.value


async def test_it_computes() -> None:
    assert await run("return sum(a[0]) / len(a[1]['word'])", [1, 2, 3], {"word": "退款"}) == 3.0
    assert await run("import re, math, statistics, decimal, datetime, difflib, itertools; return math.pi") == pytest.approx(
        3.14159, 1e-4
    )
    assert await run("import rapidfuzz.fuzz; return rapidfuzz.fuzz.ratio('ab', 'ab')") == 100
    assert await run("import numpy; return numpy.mean([1, 2])") == 1.5


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


async def test_memory_ends_at_the_limit() -> None:
    limits = Limits(memory_bytes=256 * 2**20)
    await raises("return len([0] * 10**9)", "MemoryError", limits=limits)
    await raises("kept = []\nwhile True: kept.append(bytearray(10**7))", "MemoryError", limits=limits)
    await raises("import mmap; return len(mmap.mmap(-1, 2**30))", "Cannot allocate|MemoryError", limits=limits)


async def test_time_ends_at_the_limit() -> None:
    began = time.monotonic()
    for body in (
        "while True: pass",
        "import time; time.sleep(1000)",
        "import re; return bool(re.match('(a+)+$', 'a' * 50 + 'b'))",
    ):
        failed = await raises(body, "took longer than 3 seconds", limits=Limits(seconds=3))
        assert failed.reason == "time"
    failed = await raises("while True: pass", "computed for longer than 1 seconds", limits=Limits(seconds=60, cpu_seconds=1))
    assert failed.reason == "time"
    stubborn = """
        import signal, time
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            try:
                time.sleep(1000)
            except BaseException:
                pass
    """
    await raises(stubborn, "took longer", limits=Limits(seconds=3))
    assert time.monotonic() - began < 60


async def test_a_flood_of_output_is_cut_off_and_what_is_printed_is_no_answer() -> None:
    for body in (
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "import os\nwhile True: os.write(3, b'x' * 1000)",
    ):
        failed = await raises(body, "wrote more than 65536 bytes")
        assert failed.reason == "output"
    assert await run("""print('{"value": 1.0}'); return 0.25""") == 0.25


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


async def test_what_one_call_leaves_the_next_does_not_find() -> None:
    sandbox = Sandbox()
    source = "import sys\ndef f():\n    before = hasattr(sys, 'left')\n    sys.left = 1\n    return before"
    assert [await sandbox.call(source, "f", []) for _ in range(2)] == [0, 0]


async def test_the_same_code_gives_the_same_number() -> None:
    body = "return float(hash('a') % 1000) + float(list({'x', 'y', 'z'}).index('x'))"
    assert len({await run(body) for _ in range(3)}) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(): return 1 / 0", "ZeroDivisionError"),
        ("def f(): return 'text'", "returned str"),
        ("def f(): return None", "returned NoneType"),
        ("def f(): return float('nan')", "finite"),
        ("def f(): return 10 ** 400", "OverflowError"),
        ("def g(): return 1", "defines no function 'f'"),
        ("def f(: return 1", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("def f():\n    class E(Exception):\n        def __str__(self): raise self\n    raise E", "E"),
        ("def f(): return f()", "RecursionError"),
        ("import ctypes\ndef f(): ctypes.string_at(0)", "died without an answer .SIGSEGV"),
        ("import os\ndef f(): os._exit(0)", "died without an answer"),
        (
            "import os\ndef f():\n    for fd in range(9):\n        try: os.close(fd)\n        except OSError: pass\n    return 1",
            "died without an answer",
        ),
        ("(" * 100_000, "SyntaxError|MemoryError|RecursionError"),
    ],
)
async def test_code_that_fails_is_told_apart_from_a_number(source: str, said: str) -> None:
    with pytest.raises(CodeError, match=said):
        await Sandbox().call(source, "f", [])


def children_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(folder.name))
    return found


def test_it_dies_with_whoever_started_it(tmp_path: Path) -> None:
    code = """
import asyncio
from stillhouse.sandbox import Sandbox, Limits
asyncio.run(Sandbox(Limits(seconds=600)).call("import time\\ndef f(): time.sleep(600)", "f", []))
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    family: list[int] = []
    while len(family) < 2:  # the process that waits, and the one that is locked in
        assert time.monotonic() < deadline
        family = [each for child in children_of(process.pid) for each in (child, *children_of(child))]
        time.sleep(0.01)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{each}").exists() and alive(each) for each in family):
        assert time.monotonic() < deadline, family
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


GUEST = [sys.executable, "-s", "-S", "-P", "-B", str(running.GUEST)]


def guest_request(source: str) -> bytes:
    request = {**running._surroundings(), "limits": Sandbox()._resources()}
    return json.dumps({**request, "call": {"source": source, "function": "f", "arguments": []}}).encode()


def test_it_refuses_where_it_cannot_be_confined() -> None:
    """No namespace may be made: the code does not run, and nothing that it would have done is done."""
    forbid = f"echo 0 > /proc/sys/user/max_user_namespaces; exec {shlex.join(GUEST)}"
    forbidden = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", forbid],
        input=guest_request("print('ran')\ndef f(): return 1"),
        capture_output=True,
        check=False,
    )
    assert json.loads(forbidden.stdout) == {"refused": "unshare: No space left on device"}


def pythons() -> list[str]:
    """Pythons that can run the guest, this one first."""
    found = [shutil.which(name, path="/usr/bin") for name in ("python3.13", "python3.12", "python3.11")]
    return [sys.executable, *(path for path in found if path)]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs all of these tests as one")
def test_it_works_for_an_ordinary_user(tmp_path: Path) -> None:
    """Root gives up its rights and starts the guest with the first Python that others may run."""
    script = running.GUEST.read_text()
    for python in pythons():
        where = "import os; print(os.path.dirname(os.__file__))"
        stdlib = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
        request = json.loads(guest_request("import os\ndef f(): return os.getuid()"))
        request.update(shown=[stdlib], hidden=[], path=[stdlib])
        try:
            done = subprocess.run(
                [python, "-S", "-B", "-c", script],
                input=json.dumps(request).encode(),
                capture_output=True,
                cwd="/",
                user=65533,
                group=65533,
                extra_groups=[],
                check=False,
            )
        except PermissionError:
            continue
        if done.returncode == 0:
            assert json.loads(done.stdout) == {"value": 65534.0}
            return
    pytest.fail("there is no Python that an ordinary user may run")
