"""Batches at a provider, through crashes at every step: nothing is asked twice, nothing is paid twice, order does not matter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.apply import Amount, Ask, Budget, Ledger, Tally
from stillhouse.apply.batches import Batching, line_of, outcome_of, request_of
from stillhouse.chat import ChatRequest
from stillhouse.errors import UpstreamError
from stillhouse.models.openai import OpenAIModel
from stillhouse.upstream import Upstream
from tests.fakes.batches import BatchProvider

ASKS = [
    Ask.of(ChatRequest.build("m", [{"role": "user", "content": f"question {i}"}], max_completion_tokens=9)) for i in range(10)
]


class Died(Exception):
    """The process, at this point."""


class Mortal:
    """A model that dies before or after one of its calls."""

    def __init__(self, model: OpenAIModel, at: str, when: str) -> None:
        self.model, self.at, self.when = model, at, when

    async def _do(self, name: str, *arguments: Any) -> Any:
        if (name, "before") == (self.at, self.when):
            raise Died
        result = await getattr(self.model, name)(*arguments)
        if (name, "after") == (self.at, self.when):
            raise Died
        return result

    async def upload(self, path: Path, purpose: str) -> str:
        return str(await self._do("upload", path, purpose))

    async def create_batch(self, file: str, name: str) -> dict[str, Any]:
        return dict(await self._do("create_batch", file, name))

    async def batch(self, identifier: str) -> dict[str, Any]:
        return dict(await self._do("batch", identifier))

    async def find_batch(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._do("find_batch", name)
        return found

    async def download(self, file: str) -> AsyncIterator[bytes]:
        if self.at == "download" and self.when == "before":
            raise Died
        async for line in self.model.download(file):
            yield line
            if self.at == "download":
                raise Died


async def no_sleep(seconds: float) -> None:
    pass


@pytest.fixture
async def provider() -> AsyncIterator[BatchProvider]:
    async with BatchProvider() as made:
        yield made


@pytest.fixture
async def model(provider: BatchProvider) -> AsyncIterator[OpenAIModel]:
    made = OpenAIModel(Upstream(name="p", base_url=provider.url))
    yield made
    await made.close()


async def test_every_question_is_answered_in_as_many_files_as_it_takes(
    tmp_path: Path, provider: BatchProvider, model: OpenAIModel
) -> None:
    tally = Tally(10)
    with Ledger(tmp_path / "l") as ledger:
        await Batching(model, ledger, tally=tally, most_requests=4, sleep=no_sleep).all(lambda: [*ASKS, *ASKS])
        for each in ASKS:
            outcome = ledger.outcome(each.key)
            assert outcome is not None
            assert outcome.response is not None
            assert outcome.response.text == str(each.request.messages[0]["content"]).upper()
        assert ledger.spent == Amount(calls=10, tokens=120)
    assert (len(provider.batches), tally.done) == (3, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", ["upload", "create_batch", "find_batch", "batch", "download"])
async def test_a_crash_at_any_step_makes_no_batch_twice_and_loses_none(
    tmp_path: Path, provider: BatchProvider, model: OpenAIModel, at: str, when: str
) -> None:
    with Ledger(tmp_path / "l") as ledger, pytest.raises(Died):
        await Batching(Mortal(model, at, when), ledger, most_requests=4, sleep=no_sleep).all(lambda: ASKS)
    with Ledger(tmp_path / "l") as ledger:
        await Batching(model, ledger, most_requests=4, sleep=no_sleep).all(lambda: ASKS)
        assert (ledger.answers, ledger.batches) == (10, {})
        assert ledger.spent == Amount(calls=10, tokens=120)
    assert sorted(provider.answered) == sorted(f"question {i}" for i in range(10))
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.spent == Amount(calls=10, tokens=120)


async def test_failures_are_dead_letters_and_what_expired_goes_out_again(
    tmp_path: Path, provider: BatchProvider, model: OpenAIModel
) -> None:
    provider.fate = {"question 3": "error", "question 7": "missing"}

    with Ledger(tmp_path / "l") as ledger:
        provider.fate["status"] = "expired"
        with pytest.raises(UpstreamError, match="'expired' without an answer"):
            await Batching(model, ledger, sleep=no_sleep).all(lambda: ASKS)
        assert (ledger.answers, +ledger.failed) == (8, {"refused": 1})
        assert ledger.spent == Amount(calls=9, tokens=96)
        provider.fate = {}
        await Batching(model, ledger, sleep=no_sleep).all(lambda: ASKS)
        assert ledger.spent == Amount(calls=10, tokens=108)
        failed = ledger.outcome(ASKS[3].key)
        assert failed is not None
        assert "not this one" in (failed.error or "")


async def test_a_batch_that_is_refused_as_a_whole_says_why_and_costs_nothing(
    tmp_path: Path, provider: BatchProvider, model: OpenAIModel
) -> None:
    provider.fate = {"status": "failed"}
    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(UpstreamError, match="the file is too odd"):
            await Batching(model, ledger, sleep=no_sleep).all(lambda: ASKS)
        assert (ledger.spent, ledger.batches) == (Amount(), {})


async def test_a_budget_bounds_what_is_sent(tmp_path: Path, provider: BatchProvider, model: OpenAIModel) -> None:
    with Ledger(tmp_path / "l", Budget(calls=6)) as ledger:
        batching = Batching(model, ledger, sleep=no_sleep)
        await batching.all(lambda: ASKS)
        assert batching.out_of_budget
        assert ledger.answers == len(provider.answered) == ledger.spent.calls == 6


async def test_asked_to_stop_it_leaves_its_batches_for_the_next_go(
    tmp_path: Path, provider: BatchProvider, model: OpenAIModel
) -> None:
    with Ledger(tmp_path / "l") as ledger:
        await Batching(model, ledger, sleep=no_sleep, stop=lambda: bool(provider.batches)).all(lambda: ASKS)
        assert len(ledger.batches) == 1
    with Ledger(tmp_path / "l") as ledger:
        await Batching(model, ledger, sleep=no_sleep).all(lambda: ASKS)
        assert ledger.answers == 10
    assert len(provider.batches) == 1


def test_a_line_keeps_the_request() -> None:
    key, request = request_of(line_of(ASKS[0]))
    assert (key, request.body) == (ASKS[0].key, ASKS[0].request.body)


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b'{"response": {}}', b"null"])
def test_what_is_no_result_is_none(line: bytes) -> None:
    assert outcome_of(line) is None
