"""Company changes nothing: whatever comes and goes, a request to an encoder-decoder gets the text it would get alone."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.errors import ContextLengthError, UsageError
from stillhouse.generation import Generation, Piece
from stillhouse.students.engines import ENGINES
from stillhouse.students.seq2seq import Seq2SeqStudent
from stillhouse.students.seq2seq_engine import COHORTS, Seq2SeqEngine
from tests.students.tiny_t5 import BART, T5_1_1, UMT5, build, shake

torch.set_num_threads(1)

FAMILIES: dict[str, dict[str, Any]] = {"t5-1.1": T5_1_1, "umt5": UMT5, "bart": BART}


@pytest.fixture(scope="module", params=[*FAMILIES])
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seq2SeqStudent:
    built = build(tmp_path_factory.mktemp("student"), FAMILIES[request.param])
    shake(built, 0.3)
    return built


def ask(text: str, **parameters: Any) -> Generation:
    return Generation(messages=({"role": "user", "content": text},), **{"temperature": 0.0, "max_tokens": 12, **parameters})


def finish(engine: Seq2SeqEngine) -> dict[tuple[int, int], list[Piece]]:
    pieces: dict[tuple[int, int], list[Piece]] = {}
    for _ in range(1000):
        if not engine.busy:
            return pieces
        for piece in engine.step():
            pieces.setdefault((piece.ticket, piece.choice), []).append(piece)
    raise AssertionError("still busy")


def alone(student: Seq2SeqStudent, generation: Generation) -> list[str]:
    engine = Seq2SeqEngine(student, batch=1)
    engine.submit(0, generation)
    pieces = finish(engine)
    return ["".join(piece.text for piece in pieces[0, index]) for index in range(generation.n)]


def test_greedy_is_what_transformers_generates(student: Seq2SeqStudent) -> None:
    generations = [ask(text, max_tokens=20) for text in ("a", "hello there", "what is it that you want")]
    engine = Seq2SeqEngine(student)
    for ticket, generation in enumerate(generations):
        engine.submit(ticket, generation)
    pieces = finish(engine)
    said = ["".join(piece.text for piece in pieces[ticket, 0]) for ticket in range(3)]
    assert said == student.answer([generation.messages for generation in generations], max_tokens=20)
    assert len(set(said)) > 1


@pytest.mark.parametrize("seed", range(2))
def test_whoever_comes_and_goes_changes_no_text(student: Seq2SeqStudent, seed: int) -> None:
    dice = random.Random(seed)
    requests = [
        ask(
            "".join(dice.choices("abcdefgh ", k=dice.randint(1, 30))),
            max_tokens=dice.randint(1, 16),
            temperature=dice.choice([0.0, 0.9]),
            seed=dice.randint(0, 99),
            n=dice.choice([1, 1, 3]),
            stream=dice.random() < 0.5,
            frequency_penalty=dice.choice([0.0, 0.5]),
        )
        for _ in range(12)
    ]
    engine = Seq2SeqEngine(student, batch=5)
    said: dict[tuple[int, int], str] = {}
    gone = set(dice.sample(range(12), 2))
    coming = iter(range(12))
    left = 12
    while left or engine.busy:
        for ticket in [next(coming) for _ in range(min(left, dice.randint(0, 3)))]:
            engine.submit(ticket, requests[ticket])
            left -= 1
        for ticket in gone if dice.random() < 0.3 else ():
            engine.abort(ticket)
        for piece in engine.step():
            said[piece.ticket, piece.choice] = said.get((piece.ticket, piece.choice), "") + piece.text
    for ticket in set(range(12)) - gone:
        generation = requests[ticket]
        assert [said[ticket, index] for index in range(generation.n)] == alone(student, generation)


def test_who_waits_begins_beside_those_under_way_but_not_endlessly(student: Seq2SeqStudent) -> None:
    engine = Seq2SeqEngine(student, batch=16)
    first: dict[int, int] = {}
    for ticket in range(COHORTS + 2):
        engine.submit(ticket, ask("abc", max_tokens=30, seed=1, temperature=2.0, stream=True))
        for piece in engine.step():
            first.setdefault(piece.ticket, ticket)
    assert first[1] == 1  # while request 0 was under way
    assert COHORTS not in first  # the first that had to wait
    finish(engine)


def test_pieces_count_tokens_and_end_with_a_reason(student: Seq2SeqStudent) -> None:
    engine = Seq2SeqEngine(student)
    engine.submit(5, ask("abc", max_tokens=3, temperature=1.0, seed=4, stream=True, logprobs=True, top_logprobs=2))
    pieces = finish(engine)[5, 0]
    assert pieces[-1].finish in ("stop", "length")
    assert pieces[-1].prompt_tokens == 4
    assert pieces[-1].completion_tokens <= 3
    entries = [entry for piece in pieces for entry in piece.logprobs or ()]
    assert all(len(entry["top_logprobs"]) == 2 and entry["logprob"] <= 0 for entry in entries)


def test_a_stop_string_ends_the_answer(student: Seq2SeqStudent) -> None:
    (whole,) = alone(student, ask("abc", max_tokens=12, temperature=1.0, seed=2))
    assert whole
    (cut,) = alone(student, ask("abc", max_tokens=12, temperature=1.0, seed=2, stop=(whole[-1],)))
    assert cut == whole[: whole.index(whole[-1])]


def test_what_cannot_be_read_is_refused(student: Seq2SeqStudent) -> None:
    engine = Seq2SeqEngine(student)
    with pytest.raises(ContextLengthError, match=f"at most {engine.context} tokens"):
        engine.submit(0, ask("x" * (engine.context + 1)))
    with pytest.raises(ContextLengthError, match="letters"):
        engine.submit(0, ask("x" * (engine.context * 300)))
    with pytest.raises(UsageError, match="last user message"):
        engine.submit(0, Generation(messages=({"role": "system", "content": "Add."},)))
    assert not engine.busy


def test_it_is_the_kinds_engine(tmp_path: Path) -> None:
    assert ENGINES.resolve("seq2seq") is Seq2SeqEngine
