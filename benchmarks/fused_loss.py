"""Head, divergence and their gradients: our fused loss against TRL's GKD loss and its chunked kernel, in one run.

    python benchmarks/fused_loss.py --peer-python PYTHON [--rows 1024] [--vocabularies 32000 151936] [--device cpu|cuda] [--json]

PYTHON is that of an environment with trl 1.16. Student's width 512, teacher's 1024, half of the positions supervised, float32;
forward KL and JSD(0.5), forward and backward. Each contestant runs in a process of its own (`peers/losses.py`), one at a time,
on the same inputs; memory is what its first pass adds to the process at its peak, gradients included. Time is compared with the
faster of TRL's two and memory with the leaner. Exits with 1 below --times-faster or --times-leaner, or where gradients differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CONTESTANT = Path(__file__).parent / "peers" / "losses.py"
PEERS = ("trl-gkd", "trl-chunked")
DIVERGENCES = {"forward KL": 0.0, "JSD(0.5)": 0.5}
TOLERANCE = 1e-5
"""Largest difference of a gradient, as a share of the largest gradient."""


def main() -> int:
    """Measure, print, judge."""
    options = _options()
    cases = [_case(options, vocabulary, name, beta) for vocabulary in options.vocabularies for name, beta in DIVERGENCES.items()]
    print(
        json.dumps({"rows": options.rows, "device": options.device, "threads": options.threads, "cases": cases})
    ) if options.json else print(_table(cases))
    return 0 if all(_reached(case, options) for case in cases) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="Python of an environment with trl 1.16; without it only ours is measured")
    parser.add_argument("--rows", type=int, default=1024, help="positions of a micro-batch; half of them are supervised")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[32000, 151936])
    parser.add_argument("--passes", type=int, default=3, help="whose median is the time")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch, for all")
    parser.add_argument("--times-faster", type=float, default=2.5, help="than the faster of the two")
    parser.add_argument("--times-leaner", type=float, default=4.0, help="than the leaner of the two")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _case(options: argparse.Namespace, vocabulary: int, divergence: str, beta: float) -> dict[str, Any]:
    """All contestants on one input, and what they say of each other."""
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "rows": options.rows,
            "vocabulary": vocabulary,
            "beta": beta,
            "passes": options.passes,
            "device": options.device,
            "threads": options.threads,
        }
        ours = _run(sys.executable, {**job, "contestant": "stillhouse"}, Path(folder))
        peers = {}
        for name in PEERS if options.peer_python else ():
            peers[name] = _run(options.peer_python, {**job, "contestant": name}, Path(folder))
            peers[name]["difference"] = _difference(Path(folder), name)
    case = {"vocabulary": vocabulary, "divergence": divergence, "stillhouse": ours, **peers}
    if peers:
        for ratio, measure in (("faster", "seconds"), ("faster_cpu", "cpu_seconds"), ("leaner", "peak_bytes")):
            case[f"times_{ratio}"] = round(min(peer[measure] for peer in peers.values()) / ours[measure], 2)
    return case


def _run(python: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One contestant in a fresh process."""
    path = folder / "job.json"
    path.write_text(json.dumps({**job, "gradients": str(_gradients(folder, job["contestant"]))}), encoding="utf-8")
    done = subprocess.run([python, CONTESTANT, path], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job['contestant']} failed under {python}:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _gradients(folder: Path, contestant: str) -> Path:
    return folder / f"{contestant}.npy"


def _difference(folder: Path, contestant: str) -> float:
    """The largest difference of its gradients from ours, as a share of the largest gradient."""
    ours, theirs = (np.load(_gradients(folder, name), allow_pickle=False) for name in ("stillhouse", contestant))
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _reached(case: dict[str, Any], options: argparse.Namespace) -> bool:
    if "times_faster" not in case:
        return True
    same = all(case[name]["difference"] <= TOLERANCE for name in PEERS)
    return bool(same and case["times_faster"] >= options.times_faster and case["times_leaner"] >= options.times_leaner)


def _table(cases: list[dict[str, Any]]) -> str:
    lines = [f"{'':28} {'seconds':>9} {'cpu s':>9} {'peak MB':>9} {'gradients differ by':>20}"]
    for case in cases:
        lines.append(f"{case['divergence']}, {case['vocabulary']:,} tokens")
        for name in ("stillhouse", *PEERS):
            if name in case:
                one = case[name]
                difference = f"{one['difference']:.1e}" if "difference" in one else ""
                numbers = f"{one['seconds']:>9.3f} {one['cpu_seconds']:>9.3f} {one['peak_bytes'] / 1e6:>9.0f}"
                lines.append(f"  {name:26} {numbers} {difference:>20}")
        if "times_faster" in case:
            ratios = f"{case['times_faster']:>8.2f}x {case['times_faster_cpu']:>8.2f}x {case['times_leaner']:>8.2f}x"
            lines.append(f"  {'better by':26} {ratios}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
