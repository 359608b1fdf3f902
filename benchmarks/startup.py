"""CPU seconds of `stillhouse --help`, beside those of an interpreter that does nothing, in one run.

    python benchmarks/startup.py

Exits with 1 when the help costs more than half a second of CPU (user and system, the median of the rounds).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys

LIMIT_SECONDS = 0.5

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "stillhouse --help": [sys.executable, "-m", "stillhouse.cli.main", "--help"],
    "stillhouse --version": [sys.executable, "-m", "stillhouse.cli.main", "--version"],
}


def cpu_seconds(command: list[str]) -> float:
    """CPU of one run of `command` and of all it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Interleaved rounds, so that a busy moment of the machine hits every command alike; the first warms the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():
        cpu_seconds(command)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            seconds[name].append(cpu_seconds(command))
    medians = {name: round(statistics.median(values), 3) for name, values in seconds.items()}
    print(json.dumps({"cpu_seconds": medians, "limit": LIMIT_SECONDS, "rounds": rounds}, indent=2))
    sys.exit(medians["stillhouse --help"] > LIMIT_SECONDS)


if __name__ == "__main__":
    main()
