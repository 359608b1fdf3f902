"""What may be spent and what was: set aside before a request is sent, settled when its answer is there.

What is set aside is the most that the request can use, so a budget cannot be overspent: whatever does not fit is not sent. The
bound on a prompt is its bytes (no tokenizer makes more tokens than that), the bound on an answer is the limit that the request
itself sets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from stillhouse.chat import ChatRequest, ChatResponse
from stillhouse.errors import UsageError
from stillhouse.prices import HOUR, MILLION, Price
from stillhouse.records import Record

MESSAGE_TOKENS = 16
"""At most, that a chat template adds to each message, and once more for the answer's beginning."""
_SLACK = 1e-9
"""What rounding may add to a sum of money."""


class Amount(Record):
    """What requests use. `cost` is in the currency of the prices file; 0 where the model has no price."""

    calls: int = 0
    tokens: int = 0
    """Prompt and answer."""
    cost: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(calls=self.calls + other.calls, tokens=self.tokens + other.tokens, cost=self.cost + other.cost)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(calls=self.calls - other.calls, tokens=self.tokens - other.tokens, cost=self.cost - other.cost)


class Budget(Record):
    """The most that may be spent; None: as much as it takes."""

    calls: int | None = Field(default=None, ge=0)
    """Requests that reach the teacher, those it refuses included."""
    tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)

    def covers(self, amount: Amount) -> bool:
        return (
            (self.calls is None or amount.calls <= self.calls)
            and (self.tokens is None or amount.tokens <= self.tokens)
            and (self.cost is None or amount.cost <= self.cost * (1 + _SLACK) + _SLACK)
        )


@dataclass(frozen=True)
class Meter:
    """Requests and answers of one model as amounts."""

    price: Price | None = None

    def bound(self, request: ChatRequest) -> Amount:
        """The most that one attempt can use; an answer without a limit of its own counts as nothing, see `require_bounded`."""
        answer = (answer_limit(request.body) or 0) * request.n
        prompt = prompt_bound(request)
        return Amount(calls=1, tokens=prompt + answer, cost=self._cost(prompt, answer))

    def used(self, response: ChatResponse, bound: Amount, seconds: float | None = None) -> Amount:
        """What an answer used; as much as was set aside where it does not say."""
        usage = response.usage
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return bound
        hourly = self.price.per_hour if self.price is not None else None
        by_time = 0.0 if hourly is None or seconds is None else seconds / HOUR * hourly
        tokens = usage.prompt_tokens + usage.completion_tokens
        return Amount(calls=1, tokens=tokens, cost=by_time + self._cost(usage.prompt_tokens, usage.completion_tokens))

    def require_text(self, budget: Budget, request: ChatRequest) -> None:
        """Raises UsageError where a prompt is more than text, so that nobody can bound its tokens, and the budget needs that."""
        if budget.tokens is None and budget.cost is None:
            return
        contents = [message.get("content") for message in request.messages]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        if any(isinstance(part, dict) and part.get("type") != "text" for part in parts):
            raise UsageError("What images and sounds cost cannot be bounded beforehand. Give the budget in calls.")

    def require_bounded(self, budget: Budget, parameters: Mapping[str, Any]) -> None:
        """Raises UsageError where a budget cannot be kept, because nobody can say beforehand what a request may use."""
        if budget.cost is not None and (self.price is None or self.price.per_hour is not None):
            raise UsageError(
                "A budget in money needs the model's price by tokens: enter `input` and `output` in the prices file. "
                "Or give the budget in tokens or calls."
            )
        if (budget.cost is not None or budget.tokens is not None) and answer_limit(parameters) is None:
            raise UsageError(
                "A budget in tokens or money needs a limit on each answer, or nobody knows what one may use: say --max-tokens N."
            )

    def _cost(self, prompt: int, answer: int) -> float:
        if self.price is None or self.price.input is None or self.price.output is None:
            return 0.0
        return (prompt * self.price.input + answer * self.price.output) / MILLION


@dataclass
class Purse:
    """A budget, what was spent of it, and what is set aside for requests under way."""

    budget: Budget = field(default_factory=Budget)
    spent: Amount = field(default_factory=Amount)
    """What is set aside included; that of a process that died stays spent, since nobody knows what became of it."""
    _aside: int = 0
    _change: asyncio.Event = field(default_factory=asyncio.Event)

    async def set_aside(self, most: Amount) -> bool:
        """Take `most` out, waiting for what others may give back; False: it does not fit and nothing will come back."""
        while not self.take(most):
            if self._aside <= 0 or not self._may_come_back(most):
                return False
            self._change.clear()
            await self._change.wait()
        return True

    def take(self, most: Amount) -> bool:
        """As `set_aside`, without waiting."""
        spent = self.spent + most
        if not self.budget.covers(spent):
            return False
        self.spent = spent
        self._aside += 1
        return True

    def settle(self, most: Amount, used: Amount) -> None:
        """What was set aside turned out to be `used`."""
        self.spent += used - most
        self._aside -= 1
        self._change.set()

    def _may_come_back(self, most: Amount) -> bool:
        """Calls never come back."""
        return self.budget.calls is None or self.spent.calls + most.calls <= self.budget.calls


def prompt_bound(request: ChatRequest) -> int:
    """Tokens that a prompt of text can have at most."""
    return len(request.raw) + MESSAGE_TOKENS * (len(request.messages) + 1)


def rough_tokens(text: str) -> int:
    """About how many tokens a text has, without a tokenizer: four letters each, or one and a half characters of CJK."""
    wide = sum(character > "\u2e7f" for character in text)
    return round((len(text) - wide) / 4 + wide / 1.5) if text else 0


def answer_limit(parameters: Mapping[str, Any]) -> int | None:
    """Tokens that an answer may have, by the API's parameters; None where they do not say."""
    value = parameters.get("max_completion_tokens", parameters.get("max_tokens"))
    return value if isinstance(value, int) and not isinstance(value, bool) else None
