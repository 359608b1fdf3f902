"""The gateway under load: a fake upstream alone, Stillhouse with durable capture, and LiteLLM's proxy, in one run.

    python benchmarks/gateway.py [--rounds 3] [--seconds 5] [--without-litellm] [--json FILE]

Load is wrk's (a native driver: a Python one saturates first); rounds are interleaved, so that what else the machine does falls on
all alike. LiteLLM lives in a virtual environment of its own, made on first use (`--litellm-venv`), with the same fake as backend.
Printed: requests/s, p50 and p99, what is added to the fake's in the same round, CPU time a request, memory of the process tree,
and how many answers that wrk has got are not complete in the store.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

LITELLM = "litellm[proxy]==1.106.2"
CONNECTIONS = (1, 16)
HERE = Path(__file__).parent
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-none"
wrk.body = [[{"model": "gpt-4o", "store": true, "metadata": {"run": "benchmark"},
  "messages": [{"role": "user", "content": "A question of some length, asked again and again by the benchmark."}]}]]
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.status, e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass
class Result:
    """One run of wrk against one target."""

    target: str
    connections: int
    answered: int
    per_second: float
    failed: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float = 0.0
    """Of the target's process tree, a request: what other work on the machine does not change."""


def wrk(target: str, port: int, connections: int, seconds: int, script: Path) -> Result:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", output)
    assert found, output
    requests, micros, status, errors, p50, p99 = map(int, found.groups())
    answered = requests - status
    return Result(target, connections, answered, answered / (micros / 1e6), status + errors, p50 / 1000, p99 / 1000)


@contextlib.contextmanager
def process(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, env=env)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(60)


def wait_until_ready(url: str, running: subprocess.Popen[bytes], log: Path, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert running.poll() is None, log.read_text()
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise AssertionError(f"not ready: {log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(pid: int) -> set[int]:
    """A process and its descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    members = {pid}
    while grown := {child for child, parent in parents.items() if parent in members} - members:
        members |= grown
    return members


def tree_memory_mb(pid: int) -> float:
    """Resident memory of a process and its descendants."""
    pages = sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def tree_cpu_ms(pid: int) -> float:
    """CPU time, user and system, that a process and its living descendants have used."""
    fields = [Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split() for member in tree(pid)]
    return sum(int(field[11]) + int(field[12]) for field in fields) * 1000 / os.sysconf("SC_CLK_TCK")


def measured(target: str, port: int, pid: int, connections: int, seconds: int, script: Path) -> Result:
    """One run of wrk, with the CPU time it cost the target."""
    before = tree_cpu_ms(pid)
    result = wrk(target, port, connections, seconds, script)
    return replace(result, cpu_ms=(tree_cpu_ms(pid) - before) / max(1, result.answered))


def litellm_program(venv: Path) -> Path:
    """LiteLLM's proxy, installed on first use."""
    program = venv / "bin" / "litellm"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", LITELLM], check=True)
    return program


@contextlib.contextmanager
def stillhouse(upstream_port: int, folder: Path) -> Iterator[tuple[int, int]]:
    """Port and pid of the gateway, capture required."""
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(folder / "data")]
    base = f"http://127.0.0.1:{upstream_port}/v1"
    add = [*command, "upstream", "add", "fake", "--base-url", base, "--model", "gpt-4o", "--json"]
    subprocess.run(add, check=True, capture_output=True)
    port, log = free_port(), folder / "stillhouse.log"
    with process([*command, "serve", "--port", str(port)], log) as running:
        wait_until_ready(f"http://127.0.0.1:{port}/v1/models", running, log)
        yield port, running.pid


@contextlib.contextmanager
def litellm(upstream_port: int, folder: Path, venv: Path) -> Iterator[tuple[int, int]]:
    """Port and pid of LiteLLM's proxy; it keeps nothing."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params:\n      model: openai/gpt-4o\n"
        f"      api_base: http://127.0.0.1:{upstream_port}/v1\n      api_key: sk-none\n"
    )
    port, log = free_port(), folder / "litellm.log"
    command = [str(litellm_program(venv)), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    open_door = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
    with process(command, log, {**os.environ, **open_door}) as running:
        wait_until_ready(f"http://127.0.0.1:{port}/health/liveliness", running, log)
        yield port, running.pid


def complete_rows(folder: Path) -> int:
    """Completions in state `complete`, counted in the database itself."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(folder / "data" / "stillhouse.db")) as database:
        return int(database.execute("SELECT count(*) FROM completions WHERE state = 'complete'").fetchone()[0])


def report(results: list[Result], memory: dict[str, float], lost: int, stored: int) -> None:
    names = ("req/s", "p50 ms", "p99 ms", "added p50", "added p99", "CPU ms", "failed")
    print(f"\n{'target':<12}{'conns':>6}" + "".join(f"{name:>11}" for name in names))
    for connections in CONNECTIONS:
        for target in dict.fromkeys(result.target for result in results):
            mine = [r for r in results if (r.target, r.connections) == (target, connections)]
            fake = [r for r in results if (r.target, r.connections) == ("fake", connections)]
            added50 = statistics.median(r.p50_ms - f.p50_ms for r, f in zip(mine, fake, strict=True))
            added99 = statistics.median(r.p99_ms - f.p99_ms for r, f in zip(mine, fake, strict=True))
            rate, p50, p99, cpu = (
                statistics.median(getattr(r, name) for r in mine) for name in ("per_second", "p50_ms", "p99_ms", "cpu_ms")
            )
            print(f"{target:<12}{connections:>6}{rate:>11.0f}", end="")
            print("".join(f"{value:>11.2f}" for value in (p50, p99, added50, added99, cpu)), end="")
            print(f"{sum(r.failed for r in mine):>11}")
    for target, megabytes in memory.items():
        print(f"{target}: {megabytes:.0f} MB resident, the whole process tree, after the load")
    print(f"stillhouse: {stored} complete in the store, {lost} of wrk's answers missing")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=5)
    arguments.add_argument("--without-litellm", action="store_true")
    arguments.add_argument("--litellm-venv", type=Path, default=HERE.parent / "build" / "litellm-venv")
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stillhouse-benchmark-"))
    script = folder / "post.lua"
    script.write_text(LUA)
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        upstream_port = free_port()
        fake_log = folder / "fake.log"
        command = [sys.executable, str(HERE / "fake_upstream.py"), str(upstream_port)]
        fake = stack.enter_context(process(command, fake_log))
        targets = {"fake": (upstream_port, fake.pid), "stillhouse": stack.enter_context(stillhouse(upstream_port, folder))}
        if not options.without_litellm:
            targets["litellm"] = stack.enter_context(litellm(upstream_port, folder, options.litellm_venv))
        idle = {name: tree_memory_mb(pid) for name, (_, pid) in targets.items()}
        print("load average", *(f"{load:.1f}" for load in os.getloadavg()), "idle MB", {k: round(v) for k, v in idle.items()})
        sent = sum(wrk(name, port, 4, 2, script).answered for name, (port, _) in targets.items() if name == "stillhouse")
        for name, (port, _) in targets.items():
            if name == "litellm":
                wrk(name, port, 4, 5, script)
        for number in range(options.rounds):
            for connections in CONNECTIONS:
                for name, (port, pid) in targets.items():
                    results.append(measured(name, port, pid, connections, options.seconds, script))
                    print(f"round {number + 1} {results[-1]}", flush=True)
        memory = {name: tree_memory_mb(pid) for name, (_, pid) in targets.items()}
    sent += sum(result.answered for result in results if result.target == "stillhouse")
    stored = complete_rows(folder)
    report(results, memory, max(0, sent - stored), stored)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
