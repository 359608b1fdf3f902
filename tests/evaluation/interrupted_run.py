"""An evaluation in a process of its own, to be killed: every answer is written to a ledger when it is asked for.

`python -m tests.evaluation.interrupted_run FOLDER` prints the accuracy when it gets to the end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from stillhouse.apply import Journal, Outcome
from stillhouse.evaluation import Candidate, Memory, evaluate
from stillhouse.graders.exact import Exact
from tests.evaluation.models import PLAN, Speaker, example

COUNT = 300
CONCURRENCY = 4
EXAMPLES = [example(number, str(number % 7)) for number in range(COUNT)]


async def run(folder: Path) -> float:
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def says(question: str) -> str:
        os.write(ledger, f"{question}\n".encode())
        return str(int(question.split()[-1]) % 8)

    plan = PLAN.model_copy(update={"concurrency": CONCURRENCY})
    with Journal(folder / "journal", Outcome) as journal:
        memory = Memory(seen={outcome.key: outcome for outcome in journal.items()}, keep=journal.add)
        report, _ = await evaluate(plan, [Candidate("student", "s", Speaker(says))], EXAMPLES, [Exact()], memory=memory)
    os.close(ledger)
    return report.results[0].accuracy["exact"].value


if __name__ == "__main__":
    print(asyncio.run(run(Path(sys.argv[1]))))
