"""Synthetic prompts by name: seeds of a file or a dataset, the model that writes more, the questions that must not be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stillhouse.apply import Asking, Budget, Ledger, Limit, Meter, Standing, Tally
from stillhouse.curation.expanding import Expander, Expansion, Made
from stillhouse.dataset import Example
from stillhouse.errors import UsageError
from stillhouse.files import write_atomic
from stillhouse.jobs.questions import find_questions
from stillhouse.prices import load_prices
from stillhouse.records import Record, canonical_json, fingerprint
from stillhouse.transcript import message_text
from stillhouse.workspace import Workspace


class Expanded(Record):
    """What came of it."""

    out: str
    made: int
    turned_away: dict[str, int]
    """Reason -> questions that were written and not taken."""
    standing: Standing
    out_of_budget: bool = False


async def expand_source(
    workspace: Workspace,
    source: str,
    out: Path,
    expansion: Expansion,
    *,
    avoid: Sequence[str] = (),
    budget: Budget | None = None,
    concurrency: int = 32,
    progress: Callable[[int, int], None] = lambda made, count: None,
) -> Expanded:
    """Write `expansion.count` new questions to `out`, chat JSONL. Of a dataset, the train split's are seeds, the others avoided.

    Killed and started again with the same words, it goes on. Raises NotFoundError, UsageError, PermissionRefusedError,
    ConflictError when another process is at the same.
    """
    if out.exists():
        raise UsageError(f"{out} is there already. Name another file, or remove it.")
    examples = list(find_questions(workspace, source))
    seeds = [_text(each) for each in examples if each.split == "train"]
    if not seeds:
        raise UsageError(f"{source} holds no question to begin with.")
    tests = [_text(each) for each in examples if each.split != "train"]
    tests += [_text(each) for name in avoid for each in find_questions(workspace, name)]
    target = workspace.target(expansion.model)
    wanted = expansion.model_copy(update={"model": target.name})
    expander = Expander(wanted, seeds, tests)
    meter, tally, limit = Meter(load_prices(workspace.settings.prices).of(target.name)), Tally(), Limit(concurrency)
    meter.require_bounded(budget or Budget(), expansion.parameters)
    digest = fingerprint(wanted.json_bytes(), canonical_json([seeds, tests])).removeprefix("sha256:")[:32]
    try:
        with Ledger(workspace.settings.data_dir / "labels" / f"prompts-{digest}.jsonl", budget, meter) as ledger:
            asking = Asking(target.model, ledger, limit=limit, tally=tally)
            while not asking.out_of_budget and (asks := expander.round()):
                progress(len(expander.made), expansion.count)
                await asking.all(asks)
                expander.hear([ledger.outcome(ask.key) for ask in asks])
            progress(len(expander.made), expansion.count)
            write_atomic(out, b"".join(_line(made) for made in expander.made))
            if not asking.out_of_budget:
                ledger.drop()
            spent = ledger.spent
    finally:
        await target.model.close()
    standing = Standing(done=tally.done, failed=dict(tally.failed), retried=dict(tally.retried), spent=spent)
    turned_away = dict(expander.novelty.turned_away)
    return Expanded(
        out=str(out), made=len(expander.made), turned_away=turned_away, standing=standing, out_of_budget=asking.out_of_budget
    )


def _text(example: Example) -> str:
    return message_text(example.messages[-1])


def _line(made: Made) -> bytes:
    chat = [{"role": "user", "content": made.text}]
    return canonical_json({"messages": chat, "metadata": {"way": made.way, "parents": list(made.parents)}}) + b"\n"
