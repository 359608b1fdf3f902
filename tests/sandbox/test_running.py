"""Code that runs in the sandbox, honest or failing, for whoever asks and while they live; unconfined, none runs."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stillhouse.sandbox import CodeError, Sandbox, running
from tests.fakes.processes import gone
from tests.sandbox.calls import run


async def test_it_computes() -> None:
    assert await run("return sum(a[0]) / len(a[1]['word'])", [1, 2, 3], {"word": "退款"}) == 3.0
    assert await run("import re, math, statistics, decimal, datetime, difflib, itertools; return math.pi") == pytest.approx(
        3.14159, 1e-4
    )
    assert await run("import rapidfuzz.fuzz; return rapidfuzz.fuzz.ratio('ab', 'ab')") == 100
    assert await run("import numpy; return numpy.mean([1, 2])") == 1.5


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
    while not all(map(gone, family)):
        assert time.monotonic() < deadline, family
        time.sleep(0.01)


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
