"""A live teacher with a tokenizer of its own: it reads the same chat and answer as its own tokens, and is heard where both texts
have got equally far.

A place is shared where the student's and the teacher's tokens of the answer begin at the same byte; there both have read the same
text and say what comes next. What the teacher says is told to the student in one of two ways:

- `ranks`: its k largest probabilities, without a word about which tokens they are of (ULD; the loss `ranked`);
- `tokens`: its k likeliest tokens among those that stand in both vocabularies as the same bytes; all others are one bucket (the
  loss `top_k`). Where the two cut the text that follows differently, the chain rule mends it: the student's token is as likely as
  the product of the teacher's tokens that make it up, each under the row that predicts it; and a longer token of the teacher's
  counts for the student's token that it begins with.

Places where they do not meet say nothing, and cost nothing. All is at temperature 1.

Shapes: N supervised rows of the student, R of the teacher, M of a slice, K kept tokens, S shared ones, V a vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from os.path import commonprefix
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stillhouse.dataset import Example
from stillhouse.errors import TrainingError
from stillhouse.losses.sources import Projected, Source, Sparse
from stillhouse.students.causal import CausalStudent
from stillhouse.students.text_stream import TextStream
from stillhouse.students.token_bytes import TokenBytes
from stillhouse.tensors import Batch, Encoded
from stillhouse.training.reading import SLICE_NUMBERS, surprise
from stillhouse.training.teachers.base import Teaching, asked

REMEMBERED = 1 << 16
"""Answers whose alignment is kept: an epoch of a common dataset."""


class Meeting(NamedTuple):
    """One answer, cut by both tokenizers."""

    tokens: tuple[int, ...]
    """The teacher's."""
    places: np.ndarray
    """For each of the student's tokens, which of the teacher's begins where it does; -1: none."""
    moved: np.ndarray
    """How many of the teacher's tokens, from that place on, have the student's token as their beginning or as their whole, where
    it is not one token for one; 0: nothing to mend."""


class AlignedTeacher(Teaching):
    """Runs the teacher on its own tokens of the batch's answers, whether they come from the dataset or from the student."""

    def __init__(
        self,
        teacher: CausalStudent,
        student: CausalStudent,
        examples: Iterable[Example],
        *,
        by: Literal["ranks", "tokens"] = "tokens",
        k: int = 64,
    ) -> None:
        """`examples`: all that are trained on or watched, because only they know the chats."""
        self._teacher = teacher
        self._student = student
        self._chats = {example.id: example for example in examples}
        self._by = by
        self._k = k
        self._shared = _Shared.of(teacher, student)
        self._prompt = lru_cache(maxsize=REMEMBERED)(self._read_prompt)
        self._meet = lru_cache(maxsize=REMEMBERED)(self._read_answer)
        teacher.network.requires_grad_(False)
        teacher.network.eval()

    def source(self, batch: Batch) -> Source:
        answers = batch.targets_N.cpu().numpy()
        ends = np.cumsum(np.bincount(batch.owners_N.cpu().numpy(), minlength=len(batch.examples)))[:-1]
        meetings = [self._meet(tuple(answer.tolist())) for answer in np.split(answers, ends)]
        rows = [self._row(name, meeting) for name, meeting in zip(batch.examples, meetings, strict=True)]
        read = self._teacher.collate(rows).to(batch.targets_N.device)
        with torch.no_grad():
            output = asked(self._teacher, read)
            said = Projected(output.hidden_NH, output.head)
            return self._heard(said, read, batch, meetings)

    def to(self, device: torch.device) -> AlignedTeacher:
        self._teacher.network.to(device)
        self._shared = _Shared(*(ids.to(device) for ids in self._shared))
        return self

    def _row(self, name: str, meeting: Meeting) -> Encoded:
        prompt = self._prompt(name)
        tokens = (*prompt, *meeting.tokens)
        room = self._teacher.max_positions
        if room is not None and len(tokens) > room:
            raise TrainingError(
                f"The example {name} is {len(tokens)} of the teacher's tokens, and the teacher has {room} positions. Remove it."
            )
        return Encoded(name, tokens, len(prompt), 1.0)

    def _read_prompt(self, name: str) -> tuple[int, ...]:
        example = self._chats[name]
        return tuple(self._teacher.prompt_ids(example.messages, example.tools))

    def _read_answer(self, tokens: tuple[int, ...]) -> Meeting:
        return meeting_of(self._student, self._teacher, tokens)

    def _heard(self, said: Projected, read: Batch, batch: Batch, meetings: Sequence[Meeting]) -> Sparse:
        """What was said, row by row of the student's."""
        starts = np.cumsum([0, *(len(meeting.tokens) for meeting in meetings)])
        place_N = np.concatenate([np.where(m.places < 0, -1, m.places + s) for m, s in zip(meetings, starts, strict=False)])
        moved_N = np.concatenate([meeting.moved for meeting in meetings])
        device = batch.targets_N.device
        places_N, chain_N = torch.from_numpy(place_N).to(device), torch.from_numpy(moved_N).to(device)
        heard_N = (places_N >= 0).nonzero().squeeze(-1)
        if self._by == "ranks":
            ids_MK, log_p_MK = self._likeliest(said, places_N[heard_N], None)
        else:
            ids_MK, log_p_MK = self._likeliest(said, places_N[heard_N], self._shared)
            moves = _Moves.of(said, read, places_N[heard_N], chain_N[heard_N], batch.targets_N[heard_N], self._shared)
            ids_MK, log_p_MK = moves.made(ids_MK, log_p_MK)
        ids_NK = ids_MK.new_zeros(len(places_N), ids_MK.shape[-1]).index_copy(0, heard_N, ids_MK)
        log_p_NK = log_p_MK.new_full((len(places_N), ids_MK.shape[-1]), -torch.inf).index_copy(0, heard_N, log_p_MK)
        return Sparse(ids_NK, log_p_NK, self._student.vocabulary_size)

    def _likeliest(self, said: Projected, places_M: Tensor, shared: _Shared | None) -> tuple[Tensor, Tensor]:
        """ids_MK (the student's) and log_probs_MK: of the shared tokens, or, without ids, of all."""
        step = max(1, SLICE_NUMBERS // said.vocabulary)
        most = min(self._k, said.vocabulary if shared is None else len(shared.teacher_S))
        ids, log_probs = [], []
        for start in range(0, len(places_M), step):
            rows = places_M[start : start + step]
            one_M1 = torch.ones(len(rows), 1, device=rows.device)
            log_p_MV = said.target(rows, rows, one_M1, said.vocabulary).log_probs_NV
            assert log_p_MV is not None
            top = (log_p_MV if shared is None else log_p_MV[:, shared.teacher_S]).topk(most, dim=-1)
            ids.append(torch.zeros_like(top.indices) if shared is None else shared.student_S[top.indices])
            log_probs.append(top.values.float())
        if not ids:
            return places_M.new_zeros(0, most), torch.zeros(0, most, device=places_M.device)
        return torch.cat(ids), torch.cat(log_probs)


class _Shared(NamedTuple):
    """Tokens that are the same bytes in both vocabularies, the end tokens among them."""

    teacher_S: Tensor
    student_S: Tensor
    student_of_V: Tensor
    """The teacher's id -> the student's, or -1."""

    @classmethod
    def of(cls, teacher: CausalStudent, student: CausalStudent) -> _Shared:
        known = {look: token for token, look in _looks(student)}
        pairs = [(token, known[look]) for token, look in _looks(teacher) if look in known]
        student_of = torch.full((teacher.vocabulary_size,), -1)
        teacher_S, student_S = torch.tensor([*pairs, (teacher.eos_id, student.eos_id)]).T.contiguous()
        student_of[teacher_S] = student_S
        return cls(teacher_S, student_S, student_of)


class _Moves(NamedTuple):
    """Probability that the teacher gives to its own token, and that belongs to the student's by the text."""

    log_mass_M: Tensor
    """-inf: nothing moves."""
    from_M: Tensor
    """The student's id of the teacher's token, or -1 where the student has no such token: then it comes out of the bucket."""
    to_M: Tensor

    @classmethod
    def of(cls, said: Projected, read: Batch, places_M: Tensor, chain_M: Tensor, tokens_M: Tensor, shared: _Shared) -> _Moves:
        """The chain rule: row r predicts the teacher's token r, so a span's log-probability is the sum over its own rows."""
        until_R = torch.cat([places_M.new_zeros(1, dtype=torch.float64), -surprise(said, read.targets_N).double().cumsum(0)])
        log_mass_M = (until_R[places_M + chain_M] - until_R[places_M]).float()
        return cls(log_mass_M.masked_fill(chain_M == 0, -torch.inf), shared.student_of_V[read.targets_N[places_M]], tokens_M)

    def made(self, ids_MK: Tensor, log_p_MK: Tensor) -> tuple[Tensor, Tensor]:
        """The same with what has moved; one more column, for tokens that were not among the kept ones."""
        mass_M1, p_MK = self.log_mass_M.exp()[:, None], log_p_MK.exp()
        p_MK = (p_MK - mass_M1 * (ids_MK == self.from_M[:, None])).clamp(min=0)
        gives_MK = ids_MK == self.to_M[:, None]
        p_MK = p_MK + mass_M1 * gives_MK
        new_M1 = mass_M1 * ~gives_MK.any(dim=-1, keepdim=True)
        return torch.cat([ids_MK, self.to_M[:, None]], dim=-1), torch.cat([p_MK, new_M1], dim=-1).log()


def meeting_of(student: CausalStudent, teacher: CausalStudent, tokens: tuple[int, ...]) -> Meeting:
    """The same answer as the teacher's tokens, and where they meet. `tokens`: the student's, an end token last if it ended."""
    ended = bool(tokens) and tokens[-1] == student.eos_id
    text, ends = _read(student, tokens[:-1] if ended else tokens)
    said: list[int] = teacher.tokenizer(text, add_special_tokens=False)["input_ids"]
    other_text, other_ends = _read(teacher, said)
    common = len(commonprefix([text.encode(), other_text.encode()]))
    begins, other_begins = [0, *ends], [0, *other_ends]
    place_at = {at: place for place, at in enumerate(other_begins) if at is not None and at <= common}
    place_at[0] = 0
    size = len(tokens)
    places, moved = np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=np.int64)
    whole = [*said, teacher.eos_id] if ended else said
    for at in range(size):
        begin, end = begins[at], begins[at + 1] if at + 1 < len(begins) else None
        place = -1 if begin is None else place_at.get(begin, -1)
        if not 0 <= place < len(whole):
            continue
        places[at] = place
        other_end = other_begins[place + 1] if place + 1 < len(other_begins) else None
        if end is not None and other_end is not None and begin != end != other_end:
            moved[at] = 1 if end < other_end else max(place_at.get(end, place) - place, 0)
    return Meeting(tuple(whole), places, moved)


def _read(student: CausalStudent, tokens: Sequence[int]) -> tuple[str, list[int | None]]:
    """The text, and after each token the bytes read so far; None inside a character."""
    stream, text, read = TextStream(student.decode), "", 0
    ends: list[int | None] = []
    for token in tokens:
        piece = stream.push(token)
        text, read = text + piece, read + len(piece.encode())
        ends.append(read if piece else None)
    return text, ends


def _looks(student: CausalStudent) -> Iterable[tuple[int, bytes]]:
    """(id, its bytes) of every token that is text; SentencePiece writes a space as U+2581, which decoding alone would drop."""
    of, special = TokenBytes(student.tokenizer).of, set(student.tokenizer.all_special_ids)
    for token, written in enumerate(student.tokenizer.convert_ids_to_tokens(list(range(len(student.tokenizer))))):
        if written is None or token in special:
            continue
        if "▁" in written:
            yield token, written.replace("▁", " ").encode()
        elif (read := of(token, str(student.tokenizer.decode([token])))) is not None:
            yield token, bytes(read)
