"""Many answers of a decoder at once, as token ids: what training on its own answers needs. No text, no streams, no waiting line.

All prompts are read in one pass, then every row says one token a step; rows that are done leave, so the others get faster. What
a row says depends on its own prompt and its own random numbers only. Serving has needs of its own, and its own engine
(`batching.py`); both share the key/value cache and the choice of a token.

Shapes: R rows in all, B rows under way, P longest prompt, T columns, V tokens that can be said, M most tokens of an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stillhouse.students.causal import CausalStudent
from stillhouse.students.sampling import choose
from stillhouse.students.slots import SlotCache

ROWS_AT_ONCE = 64
"""More prompts are answered in groups of this many, in order, so that memory has a bound."""


@dataclass(frozen=True)
class Sampling:
    """The distribution that is drawn from: (1 - mix) * student + mix * other, both at `temperature`, cut to the nucleus."""

    temperature: float = 1.0
    top_p: float = 1.0
    mix: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """One answer."""

    tokens: tuple[int, ...]
    """With the end token, where it came to its end."""
    log_probs: tuple[float, ...]
    """Of each token, under the distribution it was drawn from."""


def draw(
    student: CausalStudent,
    prompts: Sequence[Sequence[int]],
    numbers_RM: Tensor,
    limits: Sequence[int],
    sampling: Sampling,
    *,
    other: CausalStudent | None = None,
) -> list[Drawn]:
    """An answer to each prompt, in order: at most `limits` tokens (0 gives none), or up to the end token.

    `numbers_RM`: uniform random numbers in [0, 1), one for each token a row may say. `other` shares the student's tokenizer; its
    share is `sampling.mix`. The networks' mode (training or not) is left as it was; torch's own random numbers are not touched.
    """
    answers: list[Drawn] = [Drawn((), ())] * len(prompts)
    asked = [at for at, limit in enumerate(limits) if limit > 0]
    networks = [student.network] + ([other.network] if other is not None and sampling.mix > 0 else [])
    with torch.inference_mode(), _evaluating(networks):
        for start in range(0, len(asked), ROWS_AT_ONCE):
            group = asked[start : start + ROWS_AT_ONCE]
            rows = [_Row(prompts[at], limits[at], numbers_RM[at]) for at in group]
            _say_all(student, networks, rows, sampling)
            for at, row in zip(group, rows, strict=True):
                answers[at] = Drawn(tuple(row.said), tuple(row.log_probs))
    return answers


class _Row:
    """One answer under way."""

    def __init__(self, prompt: Sequence[int], limit: int, numbers_M: Tensor) -> None:
        self.prompt = list(prompt)
        self.limit = limit
        self.numbers: list[float] = numbers_M.tolist()
        self.said: list[int] = []
        self.log_probs: list[float] = []

    @property
    def length(self) -> int:
        """Columns of the cache it fills: all tokens but the newest."""
        return len(self.prompt) + len(self.said) - 1


class _Reader:
    """A network and its cache; row i of the batch stands in slot i."""

    def __init__(self, network: Any, rows: int) -> None:
        self._network = network
        self._cache = SlotCache(network.config.get_text_config().num_hidden_layers, rows)

    def read_prompts(self, rows: Sequence[_Row]) -> Tensor:
        """scores_BV after each prompt. Prompts are padded on the right, where causal attention never looks."""
        lengths = [len(row.prompt) for row in rows]
        width = max(lengths)
        tokens_BP = torch.tensor([row.prompt + [0] * (width - len(row.prompt)) for row in rows])
        mask_11PP = torch.ones(width, width, dtype=torch.bool).tril()[None, None]
        self._cache.write_prompts(0, len(rows), width)
        ends = sorted(set(lengths))
        scores_BEV = self._forward(
            tokens_BP, torch.arange(width).expand(len(rows), -1), mask_11PP.expand(len(rows), 1, -1, -1), torch.tensor(ends) - 1
        )
        return scores_BEV[torch.arange(len(rows)), torch.tensor([ends.index(length) for length in lengths])]

    def read_tokens(self, rows: Sequence[_Row]) -> Tensor:
        """scores_BV after the newest token of each row."""
        length_B = torch.tensor([row.length for row in rows])
        width = int(length_B.max()) + 1
        tokens_B1 = torch.tensor([row.said[-1:] for row in rows])
        mask_B11T = (torch.arange(width) <= length_B[:, None])[:, None, None]
        self._cache.write_tokens(length_B, width)
        return self._forward(tokens_B1, length_B[:, None], mask_B11T, 1)[:, -1]

    def move(self, source: int, target: int, length: int) -> None:
        self._cache.move(source, target, length)

    def _forward(self, tokens: Tensor, positions: Tensor, seen: Tensor, keep: int | Tensor) -> Tensor:
        device, dtype = self._network.device, self._network.dtype
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
        scores: Tensor = self._network(
            input_ids=tokens.to(device),
            position_ids=positions.to(device),
            attention_mask=mask.to(device),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        return scores


def _say_all(student: CausalStudent, networks: Sequence[Any], rows: Sequence[_Row], sampling: Sampling) -> None:
    """Fill the rows with what they say."""
    readers = [_Reader(network, len(rows)) for network in networks]
    size = min(len(student.tokenizer), *(network.config.get_text_config().vocab_size for network in networks))
    under_way = list(rows)
    scores = [reader.read_prompts(under_way) for reader in readers]
    while True:
        _say(under_way, _distribution([scores_BV[:, :size] for scores_BV in scores], sampling))
        for slot in reversed(range(len(under_way))):
            if under_way[slot].said[-1] == student.eos_id or len(under_way[slot].said) >= under_way[slot].limit:
                _leave(under_way, slot, readers)
        if not under_way:
            return
        scores = [reader.read_tokens(under_way) for reader in readers]


def _distribution(scores: Sequence[Tensor], sampling: Sampling) -> Tensor:
    """log_probs_BV that a token is drawn from; ids that are no tokens (a padded vocabulary's) have been cut off before."""
    log_probs_BV, *others = [(scores_BV.float() / sampling.temperature).log_softmax(dim=-1) for scores_BV in scores]
    for other_BV in others:
        student_share, other_share = torch.tensor([1 - sampling.mix, sampling.mix]).log().tolist()
        log_probs_BV = torch.logaddexp(log_probs_BV + student_share, other_BV + other_share)
    return log_probs_BV if sampling.top_p >= 1 else _nucleus(log_probs_BV, sampling.top_p)


def _nucleus(log_probs_BV: Tensor, top_p: float) -> Tensor:
    """The smallest set of tokens whose probability reaches top_p, renormalised (Holtzman et al. 2020)."""
    sorted_BV, order_BV = log_probs_BV.exp().sort(dim=-1, descending=True, stable=True)
    outside_BV = sorted_BV.cumsum(dim=-1) - sorted_BV >= top_p
    outside_BV = torch.zeros_like(outside_BV).scatter(-1, order_BV, outside_BV)
    return log_probs_BV.masked_fill(outside_BV, -torch.inf).log_softmax(dim=-1)


def _say(rows: Sequence[_Row], log_probs_BV: Tensor) -> None:
    """One token for each row."""
    device = log_probs_BV.device
    one_B = torch.ones(len(rows), device=device)
    number_B = torch.tensor([row.numbers[len(row.said)] for row in rows], dtype=torch.double, device=device)
    token_B = choose(log_probs_BV, one_B, one_B, number_B)
    said_B = log_probs_BV.gather(-1, token_B[:, None]).squeeze(-1)
    for row, token, log_prob in zip(rows, token_B.tolist(), said_B.tolist(), strict=True):
        row.said.append(token)
        row.log_probs.append(log_prob)


def _leave(under_way: list[_Row], slot: int, readers: Sequence[_Reader]) -> None:
    """The last row takes its place."""
    last = len(under_way) - 1
    if slot != last:
        for reader in readers:
            reader.move(last, slot, under_way[last].length)
        under_way[slot] = under_way[last]
    under_way.pop()


@contextmanager
def _evaluating(networks: Sequence[Any]) -> Iterator[None]:
    """Without dropout, and back."""
    modes = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for network, mode in zip(networks, modes, strict=True):
            network.train(mode)
