"""One contestant of `fused_loss.py`, alone in its process: `losses.py JOB.json` prints one JSON object.

Run by this project's Python for our loss, and by the Python of an environment with trl for its two: the rest of this file, inputs
and measuring, is the same for all. A pass is forward and backward, to the gradients of the student's states and of its head.
TRL's are called as its trainers call them: GKD with the scores of all positions and labels of -100 where nothing is supervised;
the chunked one, which leaves unsupervised rows out only where Triton runs, with the mask after it.

Shapes: N positions, half of them supervised; H and C the student's and the teacher's width; V vocabulary.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"

import numpy as np
import torch
from torch import Tensor

H, C = 512, 1024
SUPERVISED = 0.5


@dataclass(frozen=True)
class Inputs:
    hidden_NH: Tensor
    weight_VH: Tensor
    teacher_NC: Tensor
    teacher_VC: Tensor
    supervised_N: Tensor
    tokens_N: Tensor


def main() -> None:
    """Warm up on a small input, measure the memory of the first pass and the time of the others, keep the gradients."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    device = torch.device(job["device"])
    one_pass = CONTESTANTS[job["contestant"]](job["beta"])
    _timed(one_pass, make_inputs(64, 256, device))
    inputs = make_inputs(job["rows"], job["vocabulary"], device)
    before = _begin_peak(device)
    timings = [_timed(one_pass, inputs)]
    peak = _peak(device) - before
    value = timings[0][2]
    timings += [_timed(one_pass, inputs) for _ in range(job["passes"])]
    _keep(inputs, Path(job["gradients"]))
    counted = timings[1:] or timings
    print(
        json.dumps(
            {
                "seconds": sorted(seconds for seconds, _, _ in counted)[len(counted) // 2],
                "cpu_seconds": min(cpu for _, cpu, _ in counted),
                "peak_bytes": peak,
                "loss": value,
                "torch": torch.__version__,
            }
        )
    )


def make_inputs(rows: int, vocabulary: int, device: torch.device) -> Inputs:
    """Random states and heads of which a softmax is neither flat nor one-hot; the same for every contestant."""
    dice = torch.Generator().manual_seed(rows + vocabulary)

    def numbers(*shape: int, spread: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=dice) * spread).to(device)

    return Inputs(
        numbers(rows, H).requires_grad_(),
        numbers(vocabulary, H, spread=2 / H**0.5).requires_grad_(),
        numbers(rows, C),
        numbers(vocabulary, C, spread=2 / C**0.5),
        (torch.rand(rows, generator=dice) < SUPERVISED).to(device),
        torch.randint(vocabulary, (rows,), generator=dice).to(device),
    )


def _stillhouse(beta: float) -> Callable[[Inputs], Tensor]:
    from stillhouse.losses.forward_kl import ForwardKL
    from stillhouse.losses.fused import weighted_sums
    from stillhouse.losses.jensen_shannon import JensenShannon
    from stillhouse.losses.sources import Projected
    from stillhouse.tensors import Head

    loss = ForwardKL() if beta == 0 else JensenShannon(beta)

    def total(inputs: Inputs) -> Tensor:
        weight_N = inputs.supervised_N / inputs.supervised_N.sum()
        return weighted_sums(
            inputs.hidden_NH,
            Head(inputs.weight_VH),
            inputs.tokens_N,
            ce_N=torch.zeros_like(weight_N),
            kd_N=weight_N,
            loss=loss,
            source=Projected(inputs.teacher_NC, Head(inputs.teacher_VC)),
            temperature_N=torch.ones_like(weight_N),
        ).total

    return total


def _trl_gkd(beta: float) -> Callable[[Inputs], Tensor]:
    from trl.experimental.gkd import GKDTrainer

    def total(inputs: Inputs) -> Tensor:
        scores_1NV = (inputs.hidden_NH @ inputs.weight_VH.T)[None]
        with torch.no_grad():
            teacher_1NV = (inputs.teacher_NC @ inputs.teacher_VC.T)[None]
        labels_1N = torch.where(inputs.supervised_N, inputs.tokens_N, -100)[None]
        result: Tensor = GKDTrainer.generalized_jsd_loss(scores_1NV, teacher_1NV, labels=labels_1N, beta=beta)
        return result

    return total


def _trl_chunked(beta: float) -> Callable[[Inputs], Tensor]:
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    def total(inputs: Inputs) -> Tensor:
        hidden_NH, teacher_NC, mask_N = inputs.hidden_NH, inputs.teacher_NC, inputs.supervised_N
        if hidden_NH.device.type == "cuda":
            hidden_NH, teacher_NC, mask_N = hidden_NH[mask_N], teacher_NC[mask_N], mask_N[mask_N]
        loss_N, _ = ChunkedDivergenceFunction.apply(hidden_NH, inputs.weight_VH, None, teacher_NC, inputs.teacher_VC, None, beta)
        result: Tensor = (loss_N * mask_N).sum() / mask_N.sum()
        return result

    return total


CONTESTANTS: dict[str, Callable[[float], Callable[[Inputs], Tensor]]] = {
    "stillhouse": _stillhouse,
    "trl-gkd": _trl_gkd,
    "trl-chunked": _trl_chunked,
}


def _timed(one_pass: Callable[[Inputs], Tensor], inputs: Inputs) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and the loss, of one pass with no gradients at its begin."""
    inputs.hidden_NH.grad = inputs.weight_VH.grad = None
    _wait(inputs.hidden_NH.device)
    begun, cpu = time.perf_counter(), time.process_time()
    total: Any = one_pass(inputs)
    total.backward()
    _wait(inputs.hidden_NH.device)
    return time.perf_counter() - begun, time.process_time() - cpu, total.item()


def _keep(inputs: Inputs, path: Path) -> None:
    """The states' gradient and some rows of the head's, to be compared."""
    hidden_NH, weight_VH = inputs.hidden_NH.grad, inputs.weight_VH.grad
    assert hidden_NH is not None
    assert weight_VH is not None
    np.save(path, torch.cat([hidden_NH, weight_VH[:: max(1, len(weight_VH) // 2000)]]).cpu().numpy(), allow_pickle=False)


def _begin_peak(device: torch.device) -> int:
    """Bytes in use now; what is used at most is counted from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM (proc(5))
    return _peak(device)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
