"""What answers cost: an editable file of prices, by tokens for hosted models, by time for those that run on one's own machine.

Nothing is looked up on the network, and what has no price has no cost: None, never 0.
"""

from __future__ import annotations

import datetime
import os
import tomllib
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from stillhouse.chat import Usage
from stillhouse.errors import FormatError
from stillhouse.records import Record, problems_of

DEFAULT = Path(__file__).with_name("assets") / "prices.toml"
MILLION = 1_000_000
HOUR = 3600


class Price(Record):
    """`input` and `output`, or `per_hour`; in the currency of the file."""

    input: float | None = Field(default=None, ge=0)
    """Per million prompt tokens. Discounts for cached tokens or batches are not known here."""
    output: float | None = Field(default=None, ge=0)
    """Per million completion tokens."""
    per_hour: float | None = Field(default=None, ge=0)
    """Of the machine it runs on."""
    source: str = ""
    date: datetime.date | None = None
    """When the source said so."""

    @model_validator(mode="after")
    def _one_way_to_pay(self) -> Self:
        by_tokens = self.input is not None and self.output is not None
        if by_tokens == (self.per_hour is not None) or (self.input is None) != (self.output is None):
            raise ValueError("a price is either `input` and `output` (per million tokens) or `per_hour`")
        return self


class Prices(Record):
    currency: str = "USD"
    local_per_hour: float | None = Field(default=None, ge=0)
    """Of the machine that students run on; for local models without a price of their own."""
    models: dict[str, Price] = {}

    def of(self, model: str, *, local: bool = False) -> Price | None:
        """The price of a model, by its exact name."""
        price = self.models.get(model)
        if price is None and local and self.local_per_hour is not None:
            return Price(per_hour=self.local_per_hour)
        return price

    def cost(self, model: str, usage: Usage, seconds: float | None = None, *, local: bool = False) -> float | None:
        """What `usage` cost, or `seconds` of the machine; None where the price, or what it is paid by, is not known."""
        price = self.of(model, local=local)
        if price is None:
            return None
        if price.per_hour is not None:
            return None if seconds is None else seconds / HOUR * price.per_hour
        if price.input is None or price.output is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        return (usage.prompt_tokens * price.input + usage.completion_tokens * price.output) / MILLION


def load_prices(path: Path) -> Prices:
    """Read the file at `path` (`Settings.prices`); made from the shipped one when it is not there yet.

    Raises FormatError that names the file, the model and what is allowed.
    """
    if not path.exists():
        _create(path)
    try:
        return Prices.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise FormatError(f"{path} is not valid TOML: {exc}. Mend it, or remove it to get the shipped prices again.") from exc
    except ValidationError as exc:
        raise FormatError(f"{path} cannot be read as prices. {problems_of(exc)}.") from exc


def _create(path: Path) -> None:
    """Whole or not there, whoever else creates it at the same moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(DEFAULT.read_text(encoding="utf-8"), encoding="utf-8")
    draft.replace(path)
