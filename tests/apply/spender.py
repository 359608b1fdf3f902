"""A process that asks 1,000 questions on a budget: python -m tests.apply.spender LEDGER CALLS PARALLEL URL."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from stillhouse.apply import Ask, Asking, Budget, Ledger, Limit
from stillhouse.chat import ChatRequest
from stillhouse.models.openai import OpenAIModel
from stillhouse.upstream import Upstream


async def spend(path: Path, calls: int, parallel: int, url: str) -> None:
    model = OpenAIModel(Upstream(name="t", base_url=url))
    asks = (Ask.of(ChatRequest.build("m", [{"role": "user", "content": f"question {i}"}])) for i in range(1000))
    try:
        with Ledger(path, Budget(calls=calls)) as ledger:
            await Asking(model, ledger, limit=Limit(parallel, adaptive=False)).all(asks)
    finally:
        await model.close()


if __name__ == "__main__":
    asyncio.run(spend(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
