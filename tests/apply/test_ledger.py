"""What was answered and what was spent, through crashes at every byte and budgets of every kind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.apply import Amount, Ask, Asking, Budget, Ledger, Limit, Meter, Outcome, Patience
from stillhouse.apply.budget import Purse, rough_tokens
from stillhouse.apply.journal import Journal
from stillhouse.apply.ledger import Entry
from stillhouse.chat import ChatRequest, ChatResponse
from stillhouse.errors import ConflictError, PermissionRefusedError, UpstreamError, UsageError
from stillhouse.prices import Price
from tests.apply.models import Scripted
from tests.fakes.teacher import TeacherProcess

PRICE = Price(input=1.0, output=10.0)


def ask(text: str, **parameters: int) -> Ask:
    return Ask.of(ChatRequest.build("m", [{"role": "user", "content": text}], **parameters))


class Billed(Scripted):
    """Answers, and says what it used."""

    def __init__(self, prompt: int = 5, answer: int = 7) -> None:
        async def shout(request: ChatRequest) -> str:
            return str(request.messages[-1]["content"]).upper()

        super().__init__(shout)
        self.usage = {"prompt_tokens": prompt, "completion_tokens": answer}

    async def complete(self, request: ChatRequest) -> ChatResponse:
        response = await super().complete(request)
        return ChatResponse.build({**response.body, "usage": self.usage})


async def go(model: Scripted, ledger: Ledger, asks: list[Ask], parallel: int = 4) -> Asking:
    asking = Asking(model, ledger, limit=Limit(parallel, adaptive=False), patience=Patience(jitter=lambda: 0))
    await asking.all(asks)
    return asking


async def test_what_was_answered_is_not_asked_again_and_is_found_by_its_key(tmp_path: Path) -> None:
    asks = [ask(name) for name in "abcabc"]
    with Ledger(tmp_path / "l") as ledger:
        await go(Billed(), ledger, asks)
        assert ledger.answers == 3
    again = Billed()
    with Ledger(tmp_path / "l") as ledger:
        await go(again, ledger, [*asks, ask("d")])
        assert again.asked == ["d"]
        assert ledger.spent == Amount(calls=4, tokens=48)
        found = ledger.outcome(ask("b").key)
        assert found is not None
        assert found.response is not None
        assert found.response.text == "B"
        assert ledger.outcome(ask("z").key) is None


async def test_samples_of_one_question_are_kept_apart() -> None:
    request = ask("a").request
    assert Ask.of(request).key == Ask.of(request, 0).key != Ask.of(request, 1).key


async def test_what_was_given_up_stays_so_until_somebody_asks_again(tmp_path: Path) -> None:
    async def refuse(request: ChatRequest) -> str:
        raise UpstreamError("no such field", status=400)

    asks = [ask("a"), ask("b")]
    with Ledger(tmp_path / "l") as ledger:
        await go(Scripted(refuse), ledger, asks)
    model = Billed()
    with Ledger(tmp_path / "l") as ledger:
        await go(model, ledger, asks)
        assert (model.asked, ledger.failed, ledger.given_up) == ([], {"refused": 2}, [each.key for each in asks])
        ledger.ask_again([asks[0].key])
        await go(model, ledger, asks)
    with Ledger(tmp_path / "l") as ledger:
        assert (model.asked, +ledger.failed, ledger.answers) == (["a"], {"refused": 1}, 1)


async def test_calls_are_never_more_than_the_budget_refused_ones_included(tmp_path: Path) -> None:
    seen: set[str] = set()

    async def once_busy(request: ChatRequest) -> str:
        name = request.messages[-1]["content"]
        if name in seen:
            return "ok"
        seen.add(name)
        raise UpstreamError("later", status=429)

    model = Scripted(once_busy)
    with Ledger(tmp_path / "l", Budget(calls=31)) as ledger:
        asking = await go(model, ledger, [ask(str(i)) for i in range(400)], parallel=400)
        assert asking.out_of_budget
        assert len(model.asked) == ledger.spent.calls == 31
    with Ledger(tmp_path / "l", Budget(calls=40)) as ledger:
        await go(model, ledger, [ask(str(i)) for i in range(400)], parallel=400)
    assert len(model.asked) == 40


@settings(max_examples=20, deadline=None)
@given(cap=st.integers(0, 4000), prompt=st.integers(1, 60), answer=st.integers(1, 20), parallel=st.integers(1, 50))
def test_tokens_and_money_are_never_more_than_the_budget(
    cap: int, prompt: int, answer: int, parallel: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What was set aside for an answer and not used comes back, so that a budget is also used."""
    path = tmp_path_factory.mktemp("budget")
    asks = [ask(str(i), max_completion_tokens=20) for i in range(60)]
    most = max(Meter().bound(each.request).tokens for each in asks)
    for budget in (Budget(tokens=cap), Budget(cost=cap / 1e6)):
        model = Billed(prompt, answer)
        with Ledger(path / str(budget.tokens), budget, Meter(PRICE)) as ledger:
            asyncio.run(go(model, ledger, asks, parallel))
            assert ledger.spent.tokens == len(model.asked) * (prompt + answer)
            assert ledger.spent.cost == pytest.approx(len(model.asked) * (prompt + 10 * answer) / 1e6)
            assert budget.covers(ledger.spent)
            if budget.tokens is not None and len(model.asked) < 60:
                assert cap - ledger.spent.tokens < most


async def test_what_was_set_aside_by_a_process_that_died_stays_spent(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l", Budget(calls=10)) as ledger:
        for name in "abc":
            assert await ledger.set_aside(ask(name))
    model = Billed()
    with Ledger(tmp_path / "l", Budget(calls=10)) as ledger:
        assert ledger.spent.calls == 3
        await go(model, ledger, [ask(str(i)) for i in range(20)])
    assert len(model.asked) == 7


async def test_cut_at_any_byte_no_more_is_forgotten_than_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "l"
    with Ledger(path) as ledger:
        await go(Billed(), ledger, [ask(name) for name in "abc"], parallel=1)
    content = path.read_bytes()
    with Journal(path, Entry) as journal:
        entries = [(begin, entry) for begin, entry in journal.scan()]
    ends = [*(begin for begin, _ in entries[1:]), len(content)]
    for cut in range(0, len(content) + 1, 7):
        whole = [entry for (_, entry), end in zip(entries, ends, strict=True) if end <= cut]
        path.write_bytes(content[:cut])
        with Ledger(path) as ledger:
            assert ledger.answers == sum(entry.outcome is not None for entry in whole)
            assert ledger.spent == sum((entry.spent for entry in whole), Amount())


async def test_an_answer_is_on_disk_before_the_next_question_of_its_turn(tmp_path: Path) -> None:
    there: list[int] = []

    async def look(request: ChatRequest) -> str:
        there.append(sum(b'"body":"' in line for line in (tmp_path / "l").read_bytes().splitlines()))
        return "x"

    with Ledger(tmp_path / "l") as ledger:
        await go(Scripted(look), ledger, [ask(name) for name in "abc"], parallel=1)
    assert there == [0, 1, 2]


async def test_a_disk_that_refuses_ends_the_run_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Journal[Entry], items: list[Entry]) -> list[int]:
        raise OSError("no space left")

    monkeypatch.setattr(Journal, "extend", full)
    with Ledger(tmp_path / "l") as ledger, pytest.raises(OSError, match="no space left"):
        await go(Billed(), ledger, [ask("a")])


async def test_an_empty_account_ends_everything(tmp_path: Path) -> None:
    async def broke(request: ChatRequest) -> str:
        raise UpstreamError("no", status=429, body=b'{"error":{"code":"insufficient_quota"}}')

    model = Scripted(broke)
    with Ledger(tmp_path / "l") as ledger, pytest.raises(PermissionRefusedError, match="no credit left"):
        await go(model, ledger, [ask(str(i)) for i in range(50)], parallel=2)
    assert len(model.asked) <= 2


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l"), pytest.raises(ConflictError):
        Ledger(tmp_path / "l")


@pytest.mark.parametrize(
    ("budget", "price", "parameters", "why"),
    [
        (Budget(cost=1), None, {"max_tokens": 5}, "prices file"),
        (Budget(cost=1), Price(per_hour=2), {"max_tokens": 5}, "prices file"),
        (Budget(tokens=1), None, {}, "--max-tokens"),
        (Budget(cost=1), PRICE, {}, "--max-tokens"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(
    budget: Budget, price: Price | None, parameters: dict[str, int], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        Meter(price).require_bounded(budget, parameters)


def test_pictures_have_no_bound() -> None:
    content = [{"type": "image_url", "image_url": {"url": "x"}}]
    request = ChatRequest.build("m", [{"role": "user", "content": content}])
    Meter().require_text(Budget(calls=1), request)
    with pytest.raises(UsageError, match="budget in calls"):
        Meter().require_text(Budget(tokens=1), request)


async def test_who_waits_for_what_comes_back_goes_on_with_it() -> None:
    purse = Purse(Budget(tokens=10))
    most = Amount(calls=1, tokens=10)
    assert await purse.set_aside(most)
    waiting = asyncio.create_task(purse.set_aside(Amount(calls=1, tokens=6)))
    await asyncio.sleep(0)
    assert not waiting.done()
    purse.settle(most, Amount(calls=1, tokens=4))
    assert await waiting
    assert not await Purse(Budget(tokens=10)).set_aside(Amount(tokens=11))


@pytest.mark.parametrize(("text", "about"), [("", 0), ("four letters a token", 5), ("一二三四五六", 4)])
def test_rough_tokens(text: str, about: int) -> None:
    assert rough_tokens(text) == about


def test_a_budget_for_100_calls_400_parallel_with_a_kill_in_the_middle(tmp_path: Path) -> None:
    """The teacher counts, out of reach of the process that is killed."""
    command = [sys.executable, "-m", "tests.apply.spender", str(tmp_path / "l"), "100", "400"]
    with TeacherProcess("--low", "0.05", "--high", "0.4") as teacher:
        with subprocess.Popen([*command, teacher.url]) as process:
            assert teacher.ledger(came=40)["came"] >= 40
            process.send_signal(signal.SIGKILL)
        came = teacher.ledger()["came"]
        subprocess.run([*command, teacher.url], check=True, timeout=60)
        served = teacher.ledger()
    assert 40 <= came <= served["came"] <= 100
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.spent.calls == 100
        assert ledger.answers <= served["answered"]  # what was set aside when it died stays spent, sent or not
        assert isinstance(ledger.outcome(ask("z").key), Outcome | None)
