"""Continuous batching for a decoder: requests join the running batch at any step and leave it when they are done.

All rows share one key/value cache (`slots.py`). A step is one forward pass over the prompts that join, if any, and one over
the last token of every row. Whether a row runs alone or in company changes neither its random numbers nor what it may look at.

Shapes: B rows, P longest prompt that joins, T columns, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stillhouse.errors import ContextLengthError, UsageError
from stillhouse.generation import Generation, Piece
from stillhouse.students.slots import SlotCache
from stillhouse.students.speaking import Row, Speaker

PROMPT_TOKENS_PER_STEP = 4096
"""Padded prompt tokens that may join in one step, so that a flood of prompts does not stall the rows under way."""

LETTERS_PER_TOKEN = 256
"""A prompt with more letters than that for every token of the context is refused without being tokenised, which takes time."""

ELSEWHERE = "Serve it with vLLM or another server, and add that as an upstream."


class BatchingEngine:
    """Serves a `CausalStudent`. See `engines.Engine` for the protocol."""

    def __init__(self, student: Any, *, batch: int = 16) -> None:
        self._student = student
        self._network = student.network
        self._batch = batch
        self.context = context_of(self._network.config)
        self._speaker = Speaker(student)
        self._cache = SlotCache(self._network.config.get_text_config().num_hidden_layers, batch)
        self._waiting: deque[Row] = deque()
        self._rows: list[Row] = []
        """Row i stands in slot i."""
        self._prove()

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._rows)

    def submit(self, ticket: int, generation: Generation) -> None:
        """Raises ContextLengthError when the prompt leaves no room for an answer."""
        letters = sum(len(message["content"]) for message in generation.messages)
        if letters > LETTERS_PER_TOKEN * self.context:
            raise self._too_long(f"{letters} letters")
        prompt = self._student.prompt_ids(generation.messages)
        room = self.context - len(prompt)
        if room < 1:
            raise self._too_long(f"{len(prompt)} tokens")
        limit = min(generation.max_tokens, room)
        self._waiting.extend(self._speaker.rows_of(ticket, generation, prompt, limit))

    def _too_long(self, size: str) -> ContextLengthError:
        return ContextLengthError(
            f"The prompt has {size} and this student reads at most {self.context} tokens, answer included. Shorten it."
        )

    def abort(self, ticket: int) -> None:
        self._waiting = deque(row for row in self._waiting if row.ticket != ticket)
        for slot in reversed(range(len(self._rows))):
            if self._rows[slot].ticket == ticket:
                self._leave(slot)

    @torch.inference_mode()
    def step(self) -> list[Piece]:
        pieces = self._join()
        if self._rows:
            pieces += self._advance(0, self._read_tokens())
        return pieces

    def _join(self) -> list[Piece]:
        """Put waiting rows into free slots: one forward pass over their prompts, and each one's first token."""
        first = len(self._rows)
        while self._waiting and len(self._rows) < self._batch:
            widest = max(len(row.prompt) for row in [*self._rows[first:], self._waiting[0]])
            if len(self._rows) > first and widest * (len(self._rows) - first + 1) > PROMPT_TOKENS_PER_STEP:
                break
            self._rows.append(self._waiting.popleft())
        joining = self._rows[first:]
        return self._advance(first, self._read_prompts(first, joining)) if joining else []

    def _read_prompts(self, first: int, rows: Sequence[Row]) -> Tensor:
        """Logits after each prompt, B x V. Prompts are padded on the right, where causal attention never looks."""
        lengths = [len(row.prompt) for row in rows]
        width = max(lengths)
        tokens_BP = torch.tensor([row.prompt + [0] * (width - len(row.prompt)) for row in rows])
        position_BP = torch.arange(width).expand(len(rows), -1)
        mask_PP = self._mask(torch.ones(width, width, dtype=torch.bool).tril())
        self._cache.write_prompts(first, len(rows), width)
        ends = sorted(set(lengths))
        logits_BEV = self._forward(
            tokens_BP, position_BP, mask_PP.expand(len(rows), 1, -1, -1), torch.tensor(ends, dtype=torch.long) - 1
        )
        return logits_BEV[torch.arange(len(rows)), torch.tensor([ends.index(length) for length in lengths])]

    def _read_tokens(self) -> Tensor:
        """Logits after the newest token of every row, B x V."""
        lengths = [_columns(row) for row in self._rows]
        width = max(lengths) + 1
        length_B = torch.tensor(lengths)
        tokens_B1 = torch.tensor([row.said[-1:] for row in self._rows])
        mask_B11T = self._mask(torch.arange(width) <= length_B[:, None])[:, None, None]
        self._cache.write_tokens(length_B, width)
        return self._forward(tokens_B1, length_B[:, None], mask_B11T, 1)[:, -1]

    def _forward(self, tokens: Tensor, positions: Tensor, mask: Tensor, keep: int | Tensor) -> Tensor:
        logits: Tensor = self._network(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        return logits

    @torch.inference_mode()
    def _prove(self) -> None:
        """One token through the cache must give the logits it has without. Raises UsageError for networks where it does not."""
        kind = self._network.config.model_type
        tokens_1P = torch.arange(4)[None] % self._network.config.get_text_config().vocab_size
        try:
            plain_1V = self._network(input_ids=tokens_1P, use_cache=False).logits[:, -1]
            causal_11PP = self._mask(torch.ones(3, 3, dtype=torch.bool).tril())[None, None]
            self._cache.write_prompts(0, 1, 3)
            self._forward(tokens_1P[:, :3], torch.arange(3)[None], causal_11PP, 1)
            self._cache.write_tokens(torch.tensor([3]), 4)
            seen_111T = self._mask(torch.ones(1, 1, 1, 4, dtype=torch.bool))
            cached_1V = self._forward(tokens_1P[:, 3:], torch.tensor([[3]]), seen_111T, 1)[:, -1]
        except Exception as exc:  # foreign networks fail in any way
            raise UsageError(f"A '{kind}' network cannot be served here: {exc!r}. {ELSEWHERE}") from exc
        if not torch.allclose(plain_1V, cached_1V, rtol=1e-2, atol=1e-2):
            raise UsageError(f"A '{kind}' network answers differently through the batching cache. {ELSEWHERE}")

    def _mask(self, allowed: Tensor) -> Tensor:
        """Added to the attention scores: 0 where allowed, the type's least number elsewhere."""
        dtype = self._network.dtype
        return torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, torch.finfo(dtype).min)

    def _advance(self, first: int, logits_BV: Tensor) -> list[Piece]:
        """Choose a token for each of the rows from slot `first` on; those that end leave."""
        said = self._speaker.say(self._rows[first:], logits_BV)
        pieces = []
        for slot, piece in reversed(list(enumerate(said, start=first))):
            if piece is not None:
                pieces.append(piece)
                if piece.finish is not None:
                    self._leave(slot)
        return pieces

    def _leave(self, slot: int) -> None:
        last = len(self._rows) - 1
        if slot != last:
            self._cache.move(last, slot, _columns(self._rows[last]))
            self._rows[slot] = self._rows[last]
        self._rows.pop()


def context_of(config: Any) -> int:
    """Tokens, prompt and answer together, that a network can attend to. With a sliding window, the window: inside it full
    attention is the same, and the cache keeps full attention only.
    """
    text = config.get_text_config()
    limits = [getattr(text, name, None) for name in ("max_position_embeddings", "n_positions", "sliding_window")]
    return min(limit for limit in [*limits, 2**31] if limit)


def _columns(row: Row) -> int:
    """Columns of the cache it fills: all tokens but the newest, whose states are not computed yet."""
    return len(row.prompt) + len(row.said) - 1
