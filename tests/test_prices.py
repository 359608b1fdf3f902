from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import Usage
from stillhouse.errors import FormatError
from stillhouse.prices import Price, Prices, load_prices

PRICES = Prices(models={"big": Price(input=2.5, output=10), "own": Price(per_hour=3.6)})


def test_tokens_are_paid_by_the_million() -> None:
    assert PRICES.cost("big", Usage(1_000_000, 100_000)) == 3.5


def test_own_machines_are_paid_by_the_hour_whatever_the_tokens() -> None:
    assert PRICES.cost("own", Usage(5, 5), 1000) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("model", "usage", "seconds"),
    [
        ("unheard-of", Usage(1, 1), 1),
        ("big", Usage(), 1),
        ("big", Usage(1, None), 1),
        ("own", Usage(1, 1), None),
        ("bi", Usage(1, 1), 1),
    ],
)
def test_what_is_not_known_is_not_free(model: str, usage: Usage, seconds: float | None) -> None:
    assert PRICES.cost(model, usage, seconds) is None


def test_a_student_costs_what_its_machine_costs_once_that_is_said() -> None:
    assert PRICES.cost("student-1", Usage(1, 1), 3600, local=True) is None
    told = Prices(local_per_hour=0.5)
    assert told.cost("student-1", Usage(1, 1), 3600, local=True) == 0.5
    assert told.cost("somebody-elses", Usage(1, 1), 3600) is None


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_costs_add_up(prompt: int, completion: int) -> None:
    whole = PRICES.cost("big", Usage(prompt, completion))
    parts = (PRICES.cost("big", Usage(prompt, 0)) or 0) + (PRICES.cost("big", Usage(0, completion)) or 0)
    assert whole == pytest.approx(parts)


def test_the_shipped_prices_are_copied_once_and_then_belong_to_the_user(tmp_path: Path) -> None:
    path = tmp_path / "data" / "prices.toml"
    shipped = load_prices(path)
    assert shipped.models
    assert all(price.source and price.date for price in shipped.models.values())
    path.write_text('currency = "EUR"\n[models."m"]\ninput = 1\noutput = 2\n')
    assert load_prices(path) == Prices(currency="EUR", models={"m": Price(input=1, output=2)})


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[models", "not valid TOML"),
        ('[models."m"]\ninput = 1\n', "models.m"),
        ('[models."m"]\ninput = 1\noutput = 1\nper_hour = 1\n', "either"),
        ('[models."m"]\ninput = -1\noutput = 1\n', "models.m.input"),
        ('[models."m"]\n', "either"),
        ("curency = 'EUR'\n", "curency"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(content)
    with pytest.raises(FormatError, match=complaint):
        load_prices(path)
