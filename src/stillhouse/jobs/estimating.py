"""What a labelling would cost, before anything is asked: counted, bounded and told apart from what is only guessed."""

from __future__ import annotations

from stillhouse.apply import Amount, Ledger
from stillhouse.apply.budget import prompt_bound, rough_tokens
from stillhouse.jobs.labels import Wish, ledger_path
from stillhouse.jobs.questions import find_questions
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
    plan, prices = wish.plan(target.name), load_prices(workspace.settings.prices)
    count = requests = about = most = 0
    path = ledger_path(workspace.settings, wish, questions)
    there = path.exists()
    with Ledger(path) as ledger:
        for example in questions:
            count += 1
            left = [ask for ask in plan.asks(example) if not ledger.answered(ask.key)]
            requests += len(left)
            about += len(left) * sum(rough_tokens(message_text(message)) for message in example.messages)
            most += sum(prompt_bound(ask.request) for ask in left)
        answered, spent = ledger.answers, ledger.spent
        if not there:
            ledger.drop()
    limit = wish.answer_limit
    answer_most = None if limit is None else limit * requests
    price = prices.of(target.name)
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
