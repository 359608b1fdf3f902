"""Many answers at once: what is drawn, from which distribution, and that company changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stillhouse.students.causal import CausalStudent
from stillhouse.students.sampler import Drawn, Sampling, draw
from tests.students.tiny import tiny_spec, write_tokenizer

torch.set_num_threads(1)

PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [7, 7]]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> CausalStudent:
    return made(tmp_path_factory.mktemp("tokenizer"), seed=0)


def made(folder: Path, *, seed: int) -> CausalStudent:
    student = CausalStudent.build(tiny_spec(write_tokenizer(folder)), seed=seed)
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.mul_(6.0 if parameter.dim() > 1 else 1.0)  # opinions, not a flat distribution
    return student


def numbers(rows: int, most: int) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=7)).random((rows, most)))


def log_probs(student: CausalStudent, prompt: list[int], answer: Drawn, temperature: float = 1.0) -> Tensor:
    """log_probs_TV at each token of the answer, in one plain pass without a cache."""
    with torch.no_grad():
        scores_TV: Tensor = student.network(torch.tensor([[*prompt, *answer.tokens]])).logits[0]
    return (scores_TV[len(prompt) - 1 : -1, : len(student.tokenizer)] / temperature).log_softmax(-1)


def test_drawn_with_the_log_probabilities_of_a_plain_pass(student: CausalStudent) -> None:
    answers = draw(student, PROMPTS, numbers(4, 12), [12, 12, 5, 12], Sampling(temperature=0.7))
    for prompt, answer, limit in zip(PROMPTS, answers, [12, 12, 5, 12], strict=True):
        plain_TV = log_probs(student, prompt, answer, 0.7)
        torch.testing.assert_close(
            torch.tensor(answer.log_probs),
            plain_TV.gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1),
            rtol=0,
            atol=1e-4,
        )
        assert len(answer.tokens) == limit or answer.tokens[-1] == student.eos_id
        assert student.eos_id not in answer.tokens[:-1]


def test_a_row_says_the_same_alone_and_in_company(student: CausalStudent) -> None:
    drawn = numbers(4, 12)
    together = draw(student, PROMPTS, drawn, [12] * 4, Sampling())
    alone = [draw(student, [PROMPTS[i]], drawn[i : i + 1], [12], Sampling())[0] for i in range(4)]
    assert [answer.tokens for answer in together] == [answer.tokens for answer in alone]


def test_groups_are_answered_in_order(student: CausalStudent, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw(student, PROMPTS, numbers(4, 6), [6, 0, 6, 6], Sampling())
    monkeypatch.setattr("stillhouse.students.sampler.ROWS_AT_ONCE", 2)
    grouped = draw(student, PROMPTS, numbers(4, 6), [6, 0, 6, 6], Sampling())
    assert [answer.tokens for answer in grouped] == [answer.tokens for answer in whole]
    assert whole[1] == Drawn((), ())


def test_the_first_tokens_follow_the_distribution(student: CausalStudent) -> None:
    rows = 4000
    answers = draw(student, [PROMPTS[0]] * rows, numbers(rows, 1), [1] * rows, Sampling())
    counts_V = torch.bincount(torch.tensor([answer.tokens[0] for answer in answers]), minlength=len(student.tokenizer))
    expected_V = log_probs(student, PROMPTS[0], answers[0])[0].exp()
    error_V = (expected_V * (1 - expected_V) / rows).sqrt()
    assert bool(((counts_V / rows - expected_V).abs() <= 5 * error_V + 1e-3).all())


def test_a_nucleus_is_renormalised_and_nothing_outside_is_said(student: CausalStudent) -> None:
    answers = draw(student, PROMPTS * 10, numbers(40, 8), [8] * 40, Sampling(top_p=0.5))
    for prompt, answer in zip(PROMPTS * 10, answers, strict=True):
        for step_V, token, said in zip(log_probs(student, prompt, answer), answer.tokens, answer.log_probs, strict=True):
            likelier = step_V[step_V > step_V[token]].exp().sum()
            assert float(likelier) < 0.5 + 1e-5
            assert said >= float(step_V[token]) - 1e-4


def test_a_mixture_has_the_mixtures_log_probabilities(student: CausalStudent, tmp_path: Path) -> None:
    other = made(tmp_path, seed=1)
    answers = draw(student, PROMPTS, numbers(4, 8), [8] * 4, Sampling(mix=0.3), other=other)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        mixture_TV = 0.7 * log_probs(student, prompt, answer).exp() + 0.3 * log_probs(other, prompt, answer).exp()
        said_T = mixture_TV.log().gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1)
        torch.testing.assert_close(torch.tensor(answer.log_probs), said_T, rtol=0, atol=1e-4)


def test_ids_that_are_no_tokens_are_never_said(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path)
    student = CausalStudent.build(tiny_spec(tokenizer, vocab_size=400), seed=0)
    answers = draw(student, PROMPTS * 8, numbers(32, 8), [8] * 32, Sampling(temperature=3.0))
    assert max(token for answer in answers for token in answer.tokens) < len(student.tokenizer)


def test_training_mode_and_random_numbers_are_left_alone(student: CausalStudent) -> None:
    student.network.train()
    before = torch.get_rng_state()
    draw(student, PROMPTS, numbers(4, 3), [3] * 4, Sampling())
    assert student.network.training
    assert torch.equal(torch.get_rng_state(), before)
