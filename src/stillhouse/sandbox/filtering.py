"""Which system calls confined code may make, as a seccomp filter: a list of those that Python computes with, and no other.

What is left out fails with EPERM, which Python turns into an exception: every way to start a process, to open a socket, to signal
or trace anybody, to mount, to load code into the kernel. The program is classic BPF over `struct seccomp_data` (linux/seccomp.h).
"""

from __future__ import annotations

import errno
import struct

ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "write": (1, 64),
    "open": (2, None),
    "close": (3, 57),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "poll": (7, None),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "pread64": (17, 67),
    "readv": (19, 65),
    "writev": (20, 66),
    "access": (21, None),
    "select": (23, None),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "dup": (32, 23),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "uname": (63, 160),
    "fcntl": (72, 25),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "readlink": (89, None),
    "gettimeofday": (96, 169),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "getppid": (110, 173),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "time": (201, None),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "getdents64": (217, 61),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "openat": (257, 56),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "pselect6": (270, 72),
    "ppoll": (271, 73),
    "set_robust_list": (273, 99),
    "getrandom": (318, 278),
    "statx": (332, 291),
    "rseq": (334, 293),
    "faccessat2": (439, 439),
}
"""Name -> its number on x86-64 and on 64-bit ARM (None: it has none)."""

IOCTL = (16, 29)
IOCTLS = (0x5401, 0x5451)
"""TCGETS (is this a terminal?) and FIOCLEX, which opening a file does."""

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""`platform.machine()` -> its column above, and its AUDIT_ARCH number (linux/audit.h)."""
OTHERS = {"pivot_root": (155, 41), "capset": (126, 91)}
"""Calls that the C library has no function for; made before the filter is in force."""

_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_NUMBER, _ARCHITECTURE, _SECOND_ARGUMENT = 0, 4, 24
_X32 = 0x40000000
"""From here on, numbers mean another calling convention of x86-64: the same calls, once more."""


def program(machine: str) -> bytes | None:
    """The filter's instructions, eight bytes each; None for a machine whose calls are not known here."""
    if machine not in MACHINES:
        return None
    column, architecture = MACHINES[machine]
    numbers = [call[column] for call in ALLOWED.values()]
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, architecture, when=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        _step(_AT_LEAST, _X32, otherwise=1),
        _step(_RETURN, _REFUSE),
    ]
    for number in numbers:
        if number is not None:
            steps += [_step(_EQUAL, number, otherwise=1), _step(_RETURN, _ALLOW)]
    steps += [_step(_EQUAL, IOCTL[column], when=1), _step(_RETURN, _REFUSE), _step(_LOAD, _SECOND_ARGUMENT)]
    for request in IOCTLS:
        steps += [_step(_EQUAL, request, otherwise=1), _step(_RETURN, _ALLOW)]
    return b"".join([*steps, _step(_RETURN, _REFUSE)])


def _step(code: int, value: int, *, when: int = 0, otherwise: int = 0) -> bytes:
    """`struct sock_filter`: what to do, how many steps to skip where it holds and where it does not, with which number."""
    return struct.pack("=HBBI", code, when, otherwise, value)
