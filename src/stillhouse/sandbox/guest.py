"""The script that locks itself in and then runs somebody's code: started by `running`, never imported by it.

It takes one JSON object on standard input, and writes one on what was standard output: the value, what the code raised, or why it
could not be confined. It imports nothing but the standard library, and after `confine` it owns: an empty, read-only file system
with Python's own modules; no network; no process but itself; no capability; no right to get any. docs/graders.md has the list.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PDEATHSIG, CAPBSET_DROP, NO_NEW_PRIVS, SECCOMP, AMBIENT = 1, 24, 38, 22, 47
NOBODY = 65534
SHARED = ("libstdc++.so.6", "libgcc_s.so.1", "libpthread.so.0", "libm.so.6")
"""Libraries of the modules that may be imported: loaded before the file system is gone."""
LONGEST_DETAILS = 4000
LONGEST_TEXT = 200
"""Characters that a function may give for one of many arguments."""

libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """This machine does not let itself be locked out."""


def system(function: str, *arguments: Any) -> int:
    """A function of the C library. Raises Refused."""
    result: int = getattr(libc, function)(*(each.encode() if isinstance(each, str) else each for each in arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise Refused(f"{function}: {os.strerror(code)}")
    return result


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    system("mount", source, target, kind, ctypes.c_ulong(flags), options)


def enter_namespaces() -> None:
    """Users, mounts, processes, network, messages, names, groups: all its own. A helper outside says who is who in there."""
    ready, poke = os.pipe()
    inside = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.close(poke)
        os._exit(0 if os.read(ready, 1) and map_users(inside) else 1)
    os.close(ready)
    system("unshare", NEWUSER)
    os.write(poke, b"!")
    os.close(poke)
    if os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1]) != 0:
        raise Refused("users cannot be mapped into a namespace")
    system("unshare", NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS | NEWCGROUP)


def map_users(pid: int) -> bool:
    """Root becomes nobody later and needs both until then; anybody else is called nobody from the start."""
    root = os.geteuid() == 0
    try:
        if not root:
            write(f"/proc/{pid}/setgroups", "deny")
        write(f"/proc/{pid}/uid_map", f"0 0 1\n{NOBODY} {NOBODY} 1" if root else f"{NOBODY} {os.geteuid()} 1")
        write(f"/proc/{pid}/gid_map", f"0 0 1\n{NOBODY} {NOBODY} 1" if root else f"{NOBODY} {os.getegid()} 1")
    except OSError:
        return False
    return True


def write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib is not worth its import here
        file.write(text)


def build_root(shown: list[str], hidden: list[str], pivot_root: int) -> None:
    """An empty read-only file system with the folders `shown`, where they were; those in `hidden` are empty even so."""
    mount(None, "/", None, REC | PRIVATE)
    handles = [(folder, os.open(folder, os.O_PATH)) for folder in shown]
    place = next(folder for folder in ("/tmp", "/mnt", "/run", "/var", "/home") if os.path.isdir(folder))  # noqa: PTH112
    empty(place)
    covered = []
    for folder, handle in handles:
        target = place + folder
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
        mount(f"/proc/self/fd/{handle}", target, None, BIND)
        locked = os.statvfs(target).f_flag & (NOSUID | NODEV | NOEXEC)  # a namespace may not undo what its parent forbade
        mount(None, target, None, BIND | REMOUNT | RDONLY | NOSUID | NODEV | locked)
        for name in hidden:
            if os.path.isdir(place + name) and name.startswith(folder + "/"):  # noqa: PTH112
                empty(place + name)
                covered.append(place + name)
        os.close(handle)
    for folder in [*covered, place]:
        mount(None, folder, None, REMOUNT | RDONLY | NOSUID | NODEV | NOEXEC)
    os.chdir(place)
    system("syscall", ctypes.c_long(pivot_root), b".", b".")
    system("umount2", b".", DETACH)
    os.chdir("/")


def empty(place: str) -> None:
    mount("tmpfs", place, "tmpfs", NOSUID | NODEV | NOEXEC, "size=256k,nr_inodes=256,mode=755")


def become_nobody(capset: int) -> None:
    """No identity, no capability, and no way to get any."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        system("prctl", AMBIENT, 4, 0, 0, 0)
        for capability in range(64):
            if libc.prctl(CAPBSET_DROP, capability, 0, 0, 0) < 0:
                break
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    system("syscall", ctypes.c_long(capset), header, nothing)
    system("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a change of user clears it, so it is set after that
    system("prctl", NO_NEW_PRIVS, 1, 0, 0, 0)


def filter_calls(program: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))

    system("prctl", SECCOMP, 2, ctypes.byref(Program(len(program) // 8, program)), 0, 0)


def limit(limits: dict[str, int]) -> None:
    for name, most in {"CORE": 0, "FSIZE": 0, "MSGQUEUE": 0, "NPROC": 0, **limits}.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def confine(request: dict[str, Any]) -> int:
    """Returns in the process that is locked in, with where to write the answer. Raises Refused."""
    for library in SHARED:
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
    parent = os.getppid()
    enter_namespaces()
    child = os.fork()
    if child:
        wait_for(child, parent)
    build_root(request["shown"], request["hidden"], request["calls"]["pivot_root"])
    system("sethostname", b"sandbox", 7)
    answer = os.dup(1)
    os.dup2(2, 1)
    os.close(0)
    os.closerange(answer + 1, 1024)
    os.environ.clear()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # it would start threads, and fail
    sys.path[:], sys.argv[:] = request["path"], [""]
    sys.path_importer_cache.clear()
    become_nobody(request["calls"]["capset"])
    limit(request["limits"])
    filter_calls(base64.b64decode(request["filter"]))
    return answer


def wait_for(child: int, parent: int) -> NoReturn:
    """What the process outside does: hold nothing open, die with its parent, end as the child ends."""
    system("prctl", PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    os.closerange(0, 3)
    os._exit(abs(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


class Undefined(Exception):
    """The source has no such function."""


def function_of(call: dict[str, Any]) -> Any:
    """What the source defines. Raises Undefined, and whatever the source raises."""
    names: dict[str, Any] = {"__name__": "grader"}
    exec(compile(call["source"], "<grader>", "exec"), names)  # noqa: S102 - this is the place for it
    function = names.get(call["function"])
    if not callable(function):
        raise Undefined
    return function


def value_of(call: dict[str, Any]) -> dict[str, Any]:
    """What the code's function gives, or what it raised."""
    try:
        value = function_of(call)(*call["arguments"])
        if isinstance(value, bool | int | float):
            return {"value": float(value)}
        number = getattr(value, "__float__", None)  # numpy's, decimal's
        if number is None or isinstance(value, str):
            return {"raised": f"{call['function']}() returned {type(value).__name__}, where a number is needed"}
        return {"value": float(number())}
    except BaseException as exc:  # SystemExit is no way out either
        return {"raised": raised(exc, call)}


def report_each(answer: int, call: dict[str, Any]) -> NoReturn:
    """A line for each argument, written as soon as it is known, so that what hangs does not take along what was done before."""
    try:
        function = function_of(call)
    except BaseException as exc:
        report(answer, {"failed": raised(exc, call)})
    for argument in call["each"]:
        write_line(answer, text_of(function, argument))
    os._exit(0)


def text_of(function: Any, argument: Any) -> dict[str, Any]:
    """The text that a function gives for one argument, or None, or what it raised, in one line."""
    try:
        value = function(argument)
        if value is None or (type(value) is str and len(value) <= LONGEST_TEXT):
            return {"value": value}
        size = f" of {len(value)} characters" if type(value) is str else ""
        return {"raised": f"it returned {type(value).__name__}{size}, where a short text or None is needed"}
    except BaseException as exc:
        try:
            return {"raised": f"{type(exc).__name__}: {exc}"[:LONGEST_TEXT]}
        except BaseException:  # a __str__ that raises
            return {"raised": type(exc).__name__[:LONGEST_TEXT]}


def raised(exc: BaseException, call: dict[str, Any]) -> str:
    if isinstance(exc, Undefined):
        return f"the source defines no function '{call['function']}'"
    return said(exc, call["source"])


def said(exc: BaseException, source: str) -> str:
    """The traceback, as far as it is about the source."""
    try:
        import linecache
        import traceback

        linecache.cache["<grader>"] = (len(source), None, source.splitlines(keepends=True), "<grader>")
        own = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename != __file__]
        text = "".join([*traceback.format_list(own), *traceback.format_exception_only(type(exc), exc)])
    except BaseException:  # no memory left for it, or a __str__ that raises
        text = type(exc).__name__
    return text[-LONGEST_DETAILS:]


def report(answer: int, value: dict[str, Any]) -> NoReturn:
    write_line(answer, value)
    os._exit(0)


def write_line(answer: int, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(answer, data) :]


def main() -> None:
    request = json.load(sys.stdin.buffer)
    try:
        answer = confine(request)
    except (Refused, OSError) as exc:
        report(1, {"refused": str(exc)})
    if "each" in request["call"]:
        report_each(answer, request["call"])
    report(answer, value_of(request["call"]))


if __name__ == "__main__":
    main()
