"""A pid is believed only with the boot and the start time beside it."""

from __future__ import annotations

import os
import subprocess
import sys

from stillhouse.jobs import processes


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


def test_another_process_under_the_same_pid_is_not_mistaken_for_it() -> None:
    boot, _, start = (processes.identity(os.getpid()) or "").rpartition("/")
    assert processes.state_of(os.getpid(), f"{boot}/{int(start) - 1}") == "gone"


def test_another_machine_or_boot_cannot_be_judged_from_here() -> None:
    assert processes.state_of(os.getpid(), "0f0f0f0f-0000-0000-0000-000000000000/1") == "elsewhere"
