"""A pid is believed only with the boot and the start time beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stillhouse.jobs import processes
from tests.jobs.conftest import until


def test_this_process_is_alive_and_its_identity_does_not_change() -> None:
    identity = processes.identity(os.getpid())
    assert identity is not None
    assert processes.identity(os.getpid()) == identity
    assert processes.state_of(os.getpid(), identity) == "alive"


def test_a_process_that_ended_is_gone_even_before_it_is_reaped() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = processes.identity(process.pid)
    assert identity is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and left as a zombie
    assert processes.state_of(process.pid, identity) == "gone"
    process.communicate()
    assert processes.state_of(process.pid, identity) == "gone"


LEADER_ENDS = """
import ctypes, os, sys, threading
threading.Thread(target=sys.stdin.read).start()
print("there", flush=True)
os.close(1)
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="how Linux shows threads")
def test_a_process_whose_first_thread_alone_has_ended_still_lives() -> None:
    command = [sys.executable, "-c", LEADER_ENDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.read() == b"there\n"
        identity = processes.identity(process.pid)
        until(
            lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", lambda: "its leader's end"
        )
        assert identity is not None and processes.state_of(process.pid, identity) == "alive"
        process.stdin.close()
        until(lambda: processes.state_of(process.pid, identity) == "gone", lambda: "its end")


def test_another_process_under_the_same_pid_is_not_mistaken_for_it() -> None:
    boot, _, start = (processes.identity(os.getpid()) or "").rpartition("/")
    assert processes.state_of(os.getpid(), f"{boot}/{int(start) - 1}") == "gone"


def test_another_machine_or_boot_cannot_be_judged_from_here() -> None:
    assert processes.state_of(os.getpid(), "0f0f0f0f-0000-0000-0000-000000000000/1") == "elsewhere"
