"""Company changes nothing: whatever joins and leaves, a request gets the text it would get alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config

from stillhouse.errors import ContextLengthError, UsageError
from stillhouse.generation import Generation, Piece
from stillhouse.recipe import Student
from stillhouse.students.batching import BatchingEngine, context_of
from stillhouse.students.causal import CausalStudent
from tests.students.tiny import tiny_spec, write_tokenizer


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> CausalStudent:
    """Random weights, made bold so that its likeliest tokens are clearly likeliest."""
    spec = tiny_spec(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), initializer_range=0.3, tie_word_embeddings=False)
    built = CausalStudent.build(spec, seed=3)
    built.network.eval()
    return built


def ask(text: str, **parameters: Any) -> Generation:
    return Generation(messages=({"role": "user", "content": text},), **{"temperature": 0.0, "max_tokens": 24, **parameters})


def finish(engine: BatchingEngine, steps: int = 2000) -> dict[tuple[int, int], list[Piece]]:
    """All pieces by request and choice, until nothing is left to do."""
    pieces: dict[tuple[int, int], list[Piece]] = {}
    for _ in range(steps):
        if not engine.busy:
            return pieces
        for piece in engine.step():
            pieces.setdefault((piece.ticket, piece.choice), []).append(piece)
    raise AssertionError(f"still busy after {steps} steps")


def alone(student: CausalStudent, generation: Generation) -> list[str]:
    engine = BatchingEngine(student, batch=1)
    engine.submit(0, generation)
    pieces = finish(engine)
    return ["".join(piece.text for piece in pieces[0, index]) for index in range(generation.n)]


def some_requests(seed: int, count: int) -> list[Generation]:
    """Prompts of 1 to 60 letters, answers of 1 to 40 tokens; greedy, sampled, nucleus, streamed, n up to 3."""
    dice = random.Random(seed)
    return [
        ask(
            "".join(dice.choices("abcdefgh ", k=dice.randint(1, 60))),
            max_tokens=dice.randint(1, 40),
            temperature=dice.choice([0.0, 0.0, 0.7, 1.3]),
            top_p=dice.choice([1.0, 0.8]),
            seed=dice.randint(0, 99),
            n=dice.choice([1, 1, 1, 3]),
            stream=dice.random() < 0.5,
            frequency_penalty=dice.choice([0.0, 0.0, 0.5]),
        )
        for _ in range(count)
    ]


def test_greedy_is_what_transformers_generates(student: CausalStudent) -> None:
    for text in ("a", "hello", "what is it that you want, and why " * 3):
        generation = ask(text, max_tokens=40)
        assert alone(student, generation) == student.answer([generation.messages], max_tokens=40)


@pytest.mark.parametrize("seed", range(4))
def test_random_joins_and_leaves_change_no_text(student: CausalStudent, seed: int) -> None:
    dice = random.Random(seed)
    requests = some_requests(seed, 20)
    engine = BatchingEngine(student, batch=5)
    said: dict[tuple[int, int], str] = {}
    gone: set[int] = set()
    tickets = iter(range(len(requests)))
    coming = True
    while coming or engine.busy:
        for _ in range(dice.randint(0, 3)):
            ticket = next(tickets, None)
            coming = ticket is not None
            if ticket is not None:
                engine.submit(ticket, requests[ticket])
                if dice.random() < 0.2:
                    gone.add(ticket)
        for ticket in [ticket for ticket in gone if dice.random() < 0.3]:
            engine.abort(ticket)
        for piece in engine.step():
            key = (piece.ticket, piece.choice)
            said[key] = said.get(key, "") + piece.text
    for ticket, generation in enumerate(requests):
        if ticket not in gone:
            assert [said[ticket, index] for index in range(generation.n)] == alone(student, generation)


def test_a_seed_gives_the_same_text_and_its_choices_differ(student: CausalStudent) -> None:
    generation = ask("tell me", temperature=1.2, seed=7, n=4)
    first = alone(student, generation)
    assert first == alone(student, generation)
    assert len(set(first)) > 1
    assert first != alone(student, ask("tell me", temperature=1.2, seed=8, n=4))


def test_pieces_of_a_stream_are_the_whole_answer(student: CausalStudent) -> None:
    engine = BatchingEngine(student, batch=2)
    engine.submit(1, ask("abc", stream=True))
    engine.submit(2, ask("abc"))
    pieces = finish(engine)
    assert len(pieces[1, 0]) > 1
    assert len(pieces[2, 0]) == 1
    assert "".join(piece.text for piece in pieces[1, 0]) == pieces[2, 0][0].text
    assert [piece.finish for piece in pieces[1, 0][:-1]] == [None] * (len(pieces[1, 0]) - 1)


def test_length_and_counts(student: CausalStudent) -> None:
    engine = BatchingEngine(student)
    engine.submit(0, ask("abc", max_tokens=5))
    (piece,) = finish(engine)[0, 0]
    assert (piece.completion_tokens, piece.finish) == (5, "length")
    assert piece.prompt_tokens == len(student.prompt_ids([{"role": "user", "content": "abc"}]))


def test_a_stop_string_ends_the_answer_and_is_left_out(student: CausalStudent) -> None:
    (whole,) = alone(student, ask("abc", max_tokens=30))
    stop = whole[10:13]
    engine = BatchingEngine(student)
    engine.submit(0, ask("abc", max_tokens=30, stop=("never said", stop), stream=True))
    pieces = finish(engine)[0, 0]
    assert "".join(piece.text for piece in pieces) == whole[: whole.index(stop)]
    assert pieces[-1].finish == "stop"


def test_the_end_token_ends_the_answer(student: CausalStudent) -> None:
    engine = BatchingEngine(student)
    prompt = student.prompt_ids([{"role": "user", "content": "abc"}])
    with torch.inference_mode():
        likeliest = int(student.network(torch.tensor([prompt])).logits[0, -1].argmax())
    engine._speaker.ends = frozenset({likeliest})
    engine.submit(0, ask("abc"))
    (piece,) = finish(engine)[0, 0]
    assert (piece.text, piece.finish, piece.completion_tokens) == ("", "stop", 1)


def test_a_prompt_longer_than_the_context_is_refused(student: CausalStudent) -> None:
    engine = BatchingEngine(student)
    with pytest.raises(ContextLengthError, match="at most 256 tokens"):
        engine.submit(0, ask("x" * 300))
    with pytest.raises(ContextLengthError, match="1000000 letters"):
        engine.submit(0, ask("x" * 10**6))
    assert not engine.busy


def test_an_answer_ends_where_the_context_does(student: CausalStudent) -> None:
    engine = BatchingEngine(student)
    engine.submit(0, ask("x" * 240, max_tokens=1000))
    (piece,) = finish(engine)[0, 0]
    assert piece.finish in {"length", "stop"}
    assert piece.prompt_tokens + piece.completion_tokens <= 256


def test_an_abort_frees_the_slots_at_once(student: CausalStudent) -> None:
    engine = BatchingEngine(student, batch=2)
    for ticket in range(100):
        engine.submit(ticket, ask("abc", max_tokens=200, n=3))
        if ticket % 3:
            engine.step()
        engine.abort(ticket)
        assert not engine.busy
    assert alone(student, ask("abc")) == ["".join(p.text for p in _served(engine, ask("abc")))]


def _served(engine: BatchingEngine, generation: Generation) -> list[Piece]:
    engine.submit(1000, generation)
    return finish(engine)[1000, 0]


def test_logprobs_are_those_of_the_network(student: CausalStudent) -> None:
    engine = BatchingEngine(student)
    engine.submit(0, ask("abc", max_tokens=1, logprobs=True, top_logprobs=3))
    (piece,) = finish(engine)[0, 0]
    prompt = student.prompt_ids([{"role": "user", "content": "abc"}])
    with torch.inference_mode():
        expected = student.network(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    assert piece.logprobs is not None
    (entry,) = piece.logprobs
    assert entry["logprob"] == pytest.approx(float(expected.max()), abs=1e-4)
    assert [other["logprob"] for other in entry["top_logprobs"]] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-4)
    assert bytes(entry["bytes"]).decode() == entry["token"]


def test_a_frequency_penalty_lowers_repetition(student: CausalStudent) -> None:
    (plain,) = alone(student, ask("abc", max_tokens=60))
    (varied,) = alone(student, ask("abc", max_tokens=60, frequency_penalty=2.0))
    assert len(set(varied)) > len(set(plain))


@pytest.mark.parametrize(
    "config",
    [
        {"num_key_value_heads": 1},
        {"model_type": "qwen2", "num_key_value_heads": 1},
        {"model_type": "qwen3", "head_dim": 16, "num_key_value_heads": 1},
        {"model_type": "gemma3_text", "head_dim": 16, "num_key_value_heads": 1, "sliding_window": 64},
        {"model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 64},
        {"model_type": "gpt_neox", "tie_word_embeddings": False},
    ],
    ids=lambda config: str(config.get("model_type", "llama")),
)
def test_other_architectures_say_what_transformers_generates(tmp_path: Path, config: dict[str, Any]) -> None:
    spec = tiny_spec(write_tokenizer(tmp_path), **{"initializer_range": 0.3, **config})
    student = CausalStudent.build(spec, seed=1)
    student.network.eval()
    engine = BatchingEngine(student, batch=3)
    texts = ["hello", "a", "what is it"]
    for ticket, text in enumerate(texts):
        engine.submit(ticket, ask(text, max_tokens=12))
    pieces = finish(engine)
    for ticket, text in enumerate(texts):
        assert [pieces[ticket, 0][0].text] == student.answer([[{"role": "user", "content": text}]], max_tokens=12)


def test_a_network_without_keys_and_values_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    config = {"model_type": "mamba", "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    student = CausalStudent.build(Student(kind="causal", config=config, tokenizer=str(tmp_path)), seed=1)
    with pytest.raises(UsageError, match="'mamba' network"):
        BatchingEngine(student)


def test_a_sliding_window_bounds_the_context() -> None:
    config = Qwen2Config(max_position_embeddings=512, use_sliding_window=True, sliding_window=64, max_window_layers=0)
    assert context_of(config) == 64
    assert context_of(Qwen2Config(max_position_embeddings=512, use_sliding_window=False)) == 512


def test_what_is_padding_of_the_table_is_never_said(student: CausalStudent, tmp_path: Path) -> None:
    student.save(tmp_path)
    padded = CausalStudent.load(tmp_path)
    padded.network.resize_token_embeddings(student.vocabulary_size + 40, mean_resizing=False)
    with torch.no_grad():
        padded.network.get_output_embeddings().weight[student.vocabulary_size :].normal_(std=30)
    for request in (ask("a+b"), ask("a+b", temperature=1.0, seed=5, n=3)):
        assert alone(padded, request) == alone(student, request)
