"""Answers while they are said, token by token: rows with their text, random numbers and limits, and the next token of each.

Shared by the engines of decoders and of encoder-decoders; where the scores come from, and who runs beside whom, is theirs.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stillhouse.generation import Generation, Piece
from stillhouse.students.sampling import choose
from stillhouse.students.text_stream import TextStream
from stillhouse.students.token_bytes import TokenBytes


class Row:
    """One choice of one request, waiting or under way."""

    def __init__(self, ticket: int, index: int, generation: Generation, prompt: list[int], limit: int, text: TextStream) -> None:
        self.ticket = ticket
        self.index = index
        self.generation = generation
        self.prompt = prompt
        self.limit = limit
        """Tokens it may still say, at the start."""
        self.text = text
        self.said: list[int] = []
        self.unsent = ""
        self.logprobs: list[dict[str, Any]] = []
        seed = generation.seed if generation.seed is not None else random.SystemRandom().getrandbits(63)
        self.numbers = random.Random(f"{seed}/{index}")

    @property
    def penalised(self) -> bool:
        return bool(self.generation.presence_penalty or self.generation.frequency_penalty)

    def piece(self, finish: str | None) -> Piece:
        """What is unsent, handed out once."""
        logprobs = self.logprobs if self.generation.logprobs else None
        piece = Piece(self.ticket, self.index, self.unsent, len(self.prompt), len(self.said), finish, logprobs)
        self.unsent, self.logprobs = "", []
        return piece


class Speaker:
    """Turns scores into the next token of each row, and tokens into pieces."""

    def __init__(self, student: Any) -> None:
        self._student = student
        self.ends = _end_tokens(student)
        """The tokens that end an answer."""
        self._bytes = TokenBytes(student.tokenizer)

    def rows_of(self, ticket: int, generation: Generation, prompt: list[int], limit: int) -> list[Row]:
        """A row for each choice that is asked for."""
        return [
            Row(ticket, index, generation, prompt, limit, TextStream(self._student.decode, generation.stop))
            for index in range(generation.n)
        ]

    def say(self, rows: Sequence[Row], logits_BV: Tensor) -> list[Piece | None]:
        """Choose a token for each row and add it; for each the piece to send, if there is something to send."""
        logits_BV = logits_BV[:, : self._student.vocabulary_size]  # more are padding of the table, and no tokens
        for at, row in enumerate(rows):
            if row.penalised:
                _penalise(logits_BV[at], row)
        chosen_B = choose(
            logits_BV,
            torch.tensor([row.generation.temperature for row in rows]),
            torch.tensor([row.generation.top_p for row in rows]),
            torch.tensor([row.numbers.random() for row in rows], dtype=torch.double),
        )
        tokens = chosen_B.tolist()
        self._note_logprobs(rows, logits_BV, tokens)
        return [self._add(row, token) for row, token in zip(rows, tokens, strict=True)]

    def _add(self, row: Row, token: int) -> Piece | None:
        row.said.append(token)
        finish = None
        if token in self.ends:
            finish = "stop"
        else:
            row.unsent += row.text.push(token)
            if row.text.stopped:
                finish = "stop"
            elif len(row.said) >= row.limit:
                finish = "length"
        if finish is not None:
            row.unsent += row.text.end()
        if finish is not None or (row.generation.stream and row.unsent):
            return row.piece(finish)
        return None

    def _note_logprobs(self, rows: Sequence[Row], logits_BV: Tensor, tokens: Sequence[int]) -> None:
        for at, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            if row.generation.logprobs and token not in self.ends:
                logprob_V = logits_BV[at].float().log_softmax(dim=-1)
                top = logprob_V.topk(min(row.generation.top_logprobs, len(logprob_V))).indices.tolist()
                entries = [self._entry(other, float(logprob_V[other])) for other in [token, *top]]
                row.logprobs.append({**entries[0], "top_logprobs": entries[1:]})

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        text = str(self._student.tokenizer.decode([token]))
        return {"token": text, "logprob": logprob, "bytes": self._bytes.of(token, text)}


def _end_tokens(student: Any) -> frozenset[int]:
    """The tokenizer's, and those the folder's generation config adds."""
    listed = student.network.generation_config.eos_token_id
    more = listed if isinstance(listed, list) else [listed]
    return frozenset(int(token) for token in [student.eos_id, *more] if token is not None)


def _penalise(logits_V: Tensor, row: Row) -> None:
    """OpenAI's penalties, in place: frequency x count + presence, for every token the row has said."""
    counts = Counter(row.said)
    if counts:
        tokens = torch.tensor(list(counts))
        times = torch.tensor([float(count) for count in counts.values()])
        logits_V[tokens] -= row.generation.frequency_penalty * times + row.generation.presence_penalty
