"""Several processes that train one student: each takes a part of every window, and all of them take the same step.

Not by torch's DistributedDataParallel, for three reasons. The fused losses compute their gradients in the forward pass, so there
is no backward of the head for its hooks to overlap with; it divides by the number of processes, while here the one division, by
the whole window, was done already (`objective.py`); and it stumbles over weights that are used twice or not at all. What is left
of it is one sum over one flat tensor. Started by torchrun, which says in the environment who is who.

A single process is the same code with nobody to talk to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

LEAVING = timedelta(seconds=10)
"""How long one that is done, or has failed, waits for the others to be."""
PATIENCE = timedelta(hours=12)
"""How long one process waits for another: as long as a teacher's cache may take. Who dies takes the others along by torchrun."""

Example = TypeVar("Example")


class Ranks:
    """This process among those that train together. What it returns is the same in all of them, except for `share`."""

    def __init__(self, rank: int = 0, world: int = 1, device: torch.device | None = None) -> None:
        self.rank = rank
        self.world = world
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def first(self) -> bool:
        """Whether this one writes and reports."""
        return self.rank == 0

    def share(self, parts: Sequence[Sequence[Example]]) -> list[list[Example]]:
        """This process's part of a window. Whole micro-batches where they go round evenly, else a part of each; may be empty."""
        if len(parts) % self.world == 0:
            return [list(part) for part in parts[self.rank :: self.world]]
        return [mine for part in parts if (mine := list(part[self.rank :: self.world]))]

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number's sum over the processes, in float64."""
        if self.world == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(number) for number in total.tolist()]

    def any(self, flag: bool) -> bool:
        """Whether one of them says so."""
        return self.sum([float(flag)])[0] > 0

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Every `grad` becomes its sum over the processes; a parameter that none of them used keeps None.

        All of them as one tensor: the last entries count the processes that have a gradient at all.
        """
        if self.world == 1 or not parameters:
            return
        used = torch.tensor([float(parameter.grad is not None) for parameter in parameters], device=self.device)
        flat = torch.cat([*(_flat_gradient(parameter) for parameter in parameters), used])
        dist.all_reduce(flat)
        counts = flat[-len(parameters) :].tolist()
        parts = torch.split(flat[: -len(parameters)], [parameter.numel() for parameter in parameters])
        for parameter, part, count in zip(parameters, parts, counts, strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype) if count else None

    def gather(self, text: str) -> list[str]:
        """What each of them says, by rank."""
        if self.world == 1:
            return [text]
        mine = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).to(self.device) if text else self._empty()
        sizes = [int(size) for size in self.sum([float(len(mine) * (rank == self.rank)) for rank in range(self.world)])]
        padded = torch.zeros(max(*sizes, 1), dtype=torch.uint8, device=self.device)
        padded[: len(mine)] = mine
        everyone = [torch.zeros_like(padded) for _ in sizes]
        dist.all_gather(everyone, padded)
        return [bytes(said[:size].tolist()).decode() for said, size in zip(everyone, sizes, strict=True)]

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process alone, then the others: what it leaves on disk, they find."""
        if not self.first:
            self.wait()
        try:
            yield
        finally:
            if self.first:
                self.wait()

    def wait(self) -> None:
        """Until all of them are here."""
        if self.world > 1:
            dist.barrier()

    def _empty(self) -> Tensor:
        return torch.zeros(0, dtype=torch.uint8, device=self.device)


@contextmanager
def together() -> Iterator[Ranks]:
    """The processes that torchrun started with this one (RANK, WORLD_SIZE, MASTER_ADDR, ...), or this one alone.

    They talk by nccl where there is a GPU for each, else by gloo.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    accelerated = torch.cuda.device_count() > local
    device = torch.device("cuda", local) if accelerated else torch.device("cpu")
    if accelerated:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if accelerated else "gloo", timeout=PATIENCE, device_id=device if accelerated else None)
    try:
        yield Ranks(rank, world, device)
    finally:
        if not accelerated:  # whoever leaves first closes connections that the others still listen to, and gloo aborts on that
            with suppress(RuntimeError):
                dist.monitored_barrier(timeout=LEAVING)
        dist.destroy_process_group()


def _flat_gradient(parameter: nn.Parameter) -> Tensor:
    gradient = parameter.grad
    return torch.zeros_like(parameter).float().flatten() if gradient is None else gradient.detach().float().flatten()
