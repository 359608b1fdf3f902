"""Serving an encoder-decoder: requests that wait are read together, and say their answers together, a token a step.

Requests that began together are a cohort: all have said the same number of tokens, which relative positions (T5) need. New ones
need not wait for a cohort to end, they begin another; there are few at a time, so that under load they gather and run together.

Shapes: B rows of a cohort, P prompts that differ, T input positions, H width, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stillhouse.errors import ContextLengthError
from stillhouse.generation import Generation, Piece
from stillhouse.students.speaking import Row, Speaker

COHORTS = 4
"""At a time."""

CONTEXT = 4096
"""Longest input, in tokens, of a network whose positions have no end (T5): what is read takes memory with its square."""

INPUT_TOKENS_PER_STEP = 4096
"""Padded input tokens that are read in one step, so that a flood of them does not stall the answers under way."""

LETTERS_PER_TOKEN = 256
"""An input with more letters than that for every token of the context is refused without being tokenised, which takes time."""


class Cohort:
    """Rows that began together: what the encoder read for them, and the decoder's cache."""

    def __init__(self, student: Any, rows: Sequence[Row]) -> None:
        self._student = student
        self.rows = list(rows)
        self._read_BTH, self._mask_BT = self._read()
        self._cache: Any = None

    def scores(self) -> Tensor:
        """logits_BV after the newest token of every row."""
        newest = [row.said[-1] if row.said else self._student.start_id for row in self.rows]
        output = self._student.network.get_decoder()(
            input_ids=torch.tensor(newest, device=self._mask_BT.device)[:, None],
            encoder_hidden_states=self._read_BTH,
            encoder_attention_mask=self._mask_BT,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        scores_BV: Tensor = self._student.head().scores(output.last_hidden_state[:, -1]).cpu()
        return scores_BV

    def keep(self, places: Sequence[int]) -> None:
        """Only these rows go on."""
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in places]
        if self.rows:
            places_B = torch.tensor(places, device=self._mask_BT.device)
            self._read_BTH, self._mask_BT = self._read_BTH[places_B], self._mask_BT[places_B]
            if self._cache is not None:
                self._cache.batch_select_indices(places_B)

    def _read(self) -> tuple[Tensor, Tensor]:
        """The encoder's states BxTxH and their mask; the choices of one request share what was read once."""
        prompts = {id(row.prompt): row.prompt for row in self.rows}
        place = {key: place for place, key in enumerate(prompts)}
        width = max(map(len, prompts.values()))
        device = self._student.network.device
        pad = self._student.pad_id
        tokens_PT = torch.tensor([ids + [pad] * (width - len(ids)) for ids in prompts.values()], device=device)
        mask_PT = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in prompts.values()], device=device)
        read_PTH = self._student.network.get_encoder()(input_ids=tokens_PT, attention_mask=mask_PT).last_hidden_state
        places_B = torch.tensor([place[id(row.prompt)] for row in self.rows], device=device)
        return read_PTH[places_B], mask_PT[places_B]


class Seq2SeqEngine:
    """Serves a `Seq2SeqStudent`. See `engines.Engine` for the protocol."""

    def __init__(self, student: Any, *, batch: int = 16) -> None:
        self._student = student
        self._batch = batch
        self._speaker = Speaker(student)
        self._waiting: deque[Row] = deque()
        self._cohorts: list[Cohort] = []
        self.context: int = student.max_positions or CONTEXT

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._cohorts)

    def submit(self, ticket: int, generation: Generation) -> None:
        """Raises ContextLengthError for an input that is longer than the network reads."""
        letters = sum(len(message["content"]) for message in generation.messages)
        if letters > LETTERS_PER_TOKEN * self.context:
            raise self._too_long(f"{letters} letters")
        prompt = self._student.prompt_ids(generation.messages)
        if len(prompt) > self.context:
            raise self._too_long(f"{len(prompt)} tokens")
        limit = min(generation.max_tokens, (self._student.max_positions or generation.max_tokens + 1) - 1)
        self._waiting.extend(self._speaker.rows_of(ticket, generation, prompt, limit))

    def _too_long(self, size: str) -> ContextLengthError:
        return ContextLengthError(f"The input has {size} and this student reads at most {self.context} tokens. Shorten it.")

    def abort(self, ticket: int) -> None:
        self._waiting = deque(row for row in self._waiting if row.ticket != ticket)
        for cohort in self._cohorts:
            cohort.keep([place for place, row in enumerate(cohort.rows) if row.ticket != ticket])
        self._cohorts = [cohort for cohort in self._cohorts if cohort.rows]

    @torch.inference_mode()
    def step(self) -> list[Piece]:
        self._gather()
        pieces = []
        for cohort in self._cohorts:
            said = self._speaker.say(cohort.rows, cohort.scores())
            pieces += [piece for piece in said if piece is not None]
            cohort.keep([place for place, piece in enumerate(said) if piece is None or piece.finish is None])
        self._cohorts = [cohort for cohort in self._cohorts if cohort.rows]
        return pieces

    def _gather(self) -> None:
        """A cohort of the rows that wait, as far as there is room."""
        room = self._batch - sum(len(cohort.rows) for cohort in self._cohorts)
        if len(self._cohorts) >= COHORTS:
            return
        rows: list[Row] = []
        while self._waiting and len(rows) < room:
            widest = max(len(row.prompt) for row in [*rows, self._waiting[0]])
            if rows and widest * (len(rows) + 1) > INPUT_TOKENS_PER_STEP:
                break
            rows.append(self._waiting.popleft())
        if rows:
            self._cohorts.append(Cohort(self._student, rows))
