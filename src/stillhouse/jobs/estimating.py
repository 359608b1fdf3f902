"""What a labelling would cost, before anything is asked: counted, bounded and told apart from what is only guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from stillhouse.apply import Amount, Ledger
from stillhouse.apply.budget import answer_limit, prompt_bound, rough_tokens
from stillhouse.dataset import Example
from stillhouse.errors import UsageError
from stillhouse.jobs.classification import Wish as Classifying
from stillhouse.jobs.classifying import check, functions_of
from stillhouse.jobs.labels import Wish, ledger_path
from stillhouse.jobs.questions import find_questions
from stillhouse.jobs.voting_teachers import asked_about, known_plan
from stillhouse.jobs.voting_teachers import ledger_path as voted_ledger_path
from stillhouse.labelling import Plan
from stillhouse.prices import MILLION, load_prices
from stillhouse.records import Record
from stillhouse.transcript import message_text
from stillhouse.workspace import Workspace


class Estimate(Record):
    """Of the requests that are still to be made."""

    questions: int
    requests: int
    """Not answered yet; retries come on top."""
    answered: int
    """From before: not paid for again."""
    spent: Amount
    """So far, in earlier goes at the same labelling."""
    prompt_tokens: int
    """About: four letters a token, or one and a half characters of Chinese, Japanese or Korean."""
    prompt_tokens_most: int
    answer_tokens_most: int | None
    """None without --max-tokens: nobody knows."""
    prompt_cost: float | None = None
    """About. None where the model has no price by tokens."""
    cost_most: float | None = None
    currency: str = "USD"


def estimate(workspace: Workspace, wish: Wish) -> Estimate:
    """Asks nobody. Raises NotFoundError, UsageError, ConflictError while the labelling is at work."""
    questions = find_questions(workspace, wish.source)
    target = workspace.target(wish.model)
    path = ledger_path(workspace.settings, wish, questions)
    return _estimate(workspace, path, questions, lambda _: wish.plan(target.name), wish.answer_limit)


def estimate_classifying(workspace: Workspace, wish: Classifying) -> dict[str, Estimate]:
    """By teacher. Asks nobody, so where the form of answers is yet to be found out, the constrained one is counted."""
    check(wish, functions_of(workspace, wish))
    questions = find_questions(workspace, wish.source, wish.column)
    found = {}
    for name in wish.teachers:
        target = workspace.target(name)
        path = voted_ledger_path(workspace, wish, target, questions)
        first = next((asked_about(wish, example) for example in questions), None)
        if first is None:
            raise UsageError(f"{wish.source} holds no text.")
        asked = (asked_about(wish, example) for example in questions)
        plan = partial(known_plan, wish, target, first)
        found[name] = _estimate(workspace, path, asked, plan, answer_limit(wish.parameters))
    return found


def _estimate(
    workspace: Workspace, path: Path, questions: Iterable[Example], plan_by: Callable[[Ledger], Plan], limit: int | None
) -> Estimate:
    """Of what the ledger at `path` does not answer."""
    prices = load_prices(workspace.settings.prices)
    count = requests = about = most = 0
    there = path.exists()
    with Ledger(path) as ledger:
        plan = plan_by(ledger)
        for example in questions:
            count += 1
            left = [ask for ask in plan.asks(example) if not ledger.answered(ask.key)]
            requests += len(left)
            about += len(left) * sum(rough_tokens(message_text(message)) for message in example.messages)
            most += sum(prompt_bound(ask.request) for ask in left)
        answered, spent = ledger.answers, ledger.spent
        if not there:
            ledger.drop()
    answer_most = None if limit is None else limit * requests
    price = prices.of(plan.model)
    by_tokens = price is not None and price.input is not None and price.output is not None
    cost_in, cost_out = (price.input or 0.0, price.output or 0.0) if price is not None else (0.0, 0.0)
    known = by_tokens and answer_most is not None
    return Estimate(
        questions=count,
        requests=requests,
        answered=answered,
        spent=spent,
        prompt_tokens=about,
        prompt_tokens_most=most,
        answer_tokens_most=answer_most,
        prompt_cost=about * cost_in / MILLION if by_tokens else None,
        cost_most=(most * cost_in + (answer_most or 0) * cost_out) / MILLION if known else None,
        currency=prices.currency,
    )
