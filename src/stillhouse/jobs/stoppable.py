"""A coroutine as a run's work: it is cancelled as soon as its run is asked to stop, whatever it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from stillhouse.jobs.claim import Claim

T = TypeVar("T")


def run_stoppable(claim: Claim, coroutine: Coroutine[Any, Any, T]) -> T | None:
    """What it returns; None when it was cancelled because the run was asked to stop. Raises what it raises.

    It keeps what it has done as it goes (a journal), and is called again with the same words after a resume.
    """
    return asyncio.run(_until_told(claim, coroutine))


async def _until_told(claim: Claim, coroutine: Coroutine[Any, Any, T]) -> T | None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(told.set)

    task = asyncio.ensure_future(coroutine)
    waiting = asyncio.ensure_future(told.wait())
    claim.when_told(tell)
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    return None if task.cancelled() and claim.should_stop else task.result()
