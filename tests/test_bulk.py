"""Answers kept one by one: nothing asked twice that is in the journal, and files that any reader of lines can read."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.apply import Journal
from stillhouse.batch import BatchUsage
from stillhouse.bulk import Answer, Counts, answer_all, answers, error_lines, output_lines
from stillhouse.formats.batch_requests import BatchRequest


def requests(count: int) -> list[BatchRequest]:
    return [BatchRequest(line=n, custom_id=f"c{n}", url="/v1/x", body={}) for n in range(1, count + 1)]


def answer_to(request: BatchRequest, body: str = "{}", status: int = 200) -> Answer:
    usage = BatchUsage(input_tokens=2, output_tokens=3)
    return Answer(line=request.line, id="i", custom_id=request.custom_id, request_id="r", status=status, body=body, usage=usage)


async def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    asked: Counter[int] = Counter()
    under_way, most = 0, 0
    stop_at = 25

    async def ask(request: BatchRequest) -> Answer:
        nonlocal under_way, most
        asked[request.line] += 1
        under_way += 1
        most = max(most, under_way)
        number = asked.total()
        await asyncio.sleep(0)
        if number == stop_at:
            raise KeyError("killed")
        under_way -= 1
        return answer_to(request, status=200 if request.line % 5 else 500)

    with Journal(tmp_path / "j", Answer) as journal:
        try:
            await answer_all(requests(60), ask, journal, Counts(), concurrency=4)
        except KeyError:
            under_way = 0
        counts = Counts.of(answers(journal))
        asked_before, kept = asked.total(), len(counts.done)  # others may have asked on before the one that fails did
        assert stop_at <= asked_before < stop_at + 4 and asked_before - 4 <= kept < asked_before and most == 4
        await answer_all(requests(60), ask, journal, counts, concurrency=4)
        assert Counts.of(answers(journal)) == counts
    assert (len(counts.done), counts.completed, counts.failed) == (60, 48, 12)
    assert counts.usage == BatchUsage(input_tokens=120, output_tokens=180)
    assert asked.total() == 60 + asked_before - kept and max(asked.values()) == 2


async def test_an_answer_that_is_being_written_when_it_is_cancelled_is_kept_and_counted(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Journal[Answer]):
        def add(self, item: Answer) -> None:
            begun.set()
            go_on.wait()
            super().add(item)

    async def ask(request: BatchRequest) -> Answer:
        return answer_to(request)

    counts = Counts()
    with Slow(tmp_path / "j", Answer) as journal:
        asking = asyncio.create_task(answer_all(requests(9), ask, journal, counts, concurrency=1))
        await asyncio.to_thread(begun.wait)
        asking.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        ended_early = asking.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not ended_early
        assert Counts.of(answers(journal)) == counts
        assert len(counts.done) == 1


def read(lines: Iterable[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in b"".join(lines).decode().splitlines()]


@given(st.text(), st.booleans(), st.booleans())
def test_a_body_is_one_line_whatever_it_says(text: str, escaped: bool, pretty: bool) -> None:
    body = {"text": text, "number": 1.0}
    raw = json.dumps(body, ensure_ascii=escaped, indent=1 if pretty else None).encode("utf-8", "replace").decode()
    request = requests(1)[0]
    good, bad = answer_to(request, raw), answer_to(request, raw, 400)
    (row,) = read(output_lines([good, bad]))
    (failure,) = read(error_lines([good, bad], [], "", ""))
    expected = {"id": "i", "custom_id": "c1", "error": None}
    assert row == {**expected, "response": {"status_code": 200, "request_id": "r", "body": json.loads(raw)}}
    assert failure == {**expected, "response": {"status_code": 400, "request_id": "r", "body": json.loads(raw)}}


def test_bytes_of_an_answer_stay_as_they_came() -> None:
    (line,) = output_lines([answer_to(requests(1)[0], '{"x":1e400,"y":0.10,"z":12345678901234567890123}')])
    assert b'"body":{"x":1e400,"y":0.10,"z":12345678901234567890123}}' in line


def test_what_nobody_got_to_is_told() -> None:
    (row,) = read(error_lines([], requests(1), "batch_expired", "too late"))
    assert (row["custom_id"], row["response"], row["error"]) == ("c1", None, {"code": "batch_expired", "message": "too late"})


def test_usage_is_read_in_either_apis_words() -> None:
    chat = {"prompt_tokens": 5, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 3},
            "prompt_tokens_details": {"cached_tokens": 2}}  # fmt: skip
    responses = {"input_tokens": 5, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3},
                 "input_tokens_details": {"cached_tokens": 2}}  # fmt: skip
    expected = BatchUsage(input_tokens=5, cached_tokens=2, output_tokens=7, reasoning_tokens=3)
    assert BatchUsage.of({"usage": chat}) == BatchUsage.of({"usage": responses}) == expected
    assert (
        BatchUsage.of({"usage": "much"}) == BatchUsage.of({}) == BatchUsage.of({"usage": {"prompt_tokens": -1}}) == BatchUsage()
    )
