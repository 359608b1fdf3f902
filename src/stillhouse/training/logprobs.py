"""Log-probabilities that came with an API's answers, as rows of a teacher's cache: token strings become ids, or are refused.

An API says tokens as strings, and strings are not ids: two tokens can look alike, and another tokenizer cuts the same text
elsewhere. So the upstream names its tokenizer; its ids of the answer have to reproduce the tokens that were said, one by one; and
the cache is found by that tokenizer's hash alone, so a student with another one cannot read it. Of the other tokens at a place,
one whose id cannot be told for certain joins the tail, which is never dropped and never spread over the rest.

The end token: most servers say nothing about it. Its row then holds the end alone, which is cross-entropy.

Shapes: N rows, K kept tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.records import fingerprint
from stillhouse.signals import Entry, Key, Shape, SignalReader, SignalWriter, TopRows
from stillhouse.students.folders import load_tokenizer, tokenizer_hash
from stillhouse.students.prompting import ids_of
from stillhouse.students.token_bytes import TokenBytes
from stillhouse.tensors import Encoded
from stillhouse.training.teachers.cached import CachedTeacher

PLACES = 21
"""K: the 20 tokens that an API gives at most, and the one that was said, which may be none of them."""
BLOCK = 64
"""Examples that are written together."""
REMEDY = (
    "Name the tokenizer that the upstream really uses (stillhouse upstream add ... --tokenizer FOLDER), or set [method] align = "
    '"bytes" with a local teacher, or [method] kind = "black-box", which learns from the text alone.'
)

_ID = re.compile(r"token_id:(\d+)")
"""How some servers say a token where they are asked for ids."""
_SLACK = 1e-2
"""What rounding may add to a probability of 1."""

Said = Sequence[Mapping[str, Any]]
"""One answer's `logprobs.content`: for each token `token`, `bytes`, `logprob`, and the likeliest ones in `top_logprobs`."""


class Aligner:
    """One tokenizer, and what each of its ids looks like from outside."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError where there is no tokenizer in `folder`."""
        self._tokenizer = load_tokenizer(folder)
        self.hash = tokenizer_hash(self._tokenizer)
        self.vocabulary = len(self._tokenizer)
        self._end = self._tokenizer.eos_token_id
        self._looks: dict[bytes, set[int]] = {}
        for token, look in _looks(self._tokenizer):
            self._looks.setdefault(look, set()).add(token)

    def ids(self, answer: str) -> tuple[int, ...]:
        """The answer's ids and the end token's."""
        if self._end is None:
            raise RecipeError("The upstream's tokenizer has no eos_token, so the end of its answers is no token. Set one.")
        return (*ids_of(self._tokenizer, [answer])[0], int(self._end))

    def rows(self, answer: str, said: Said) -> TopRows:
        """A row for each of `ids(answer)`. Raises RecipeError where what was said are not these tokens, one by one."""
        ids = self.ids(answer)
        if not said:
            raise RecipeError("the API's answer came without them")
        if len(said) not in (len(ids) - 1, len(ids)):
            raise RecipeError(
                f"the API's answer is {len(said)} tokens, and the upstream's tokenizer makes {len(ids) - 1} of the same text"
            )
        rows = [self._row(place, token, entry) for place, (token, entry) in enumerate(zip(ids, said, strict=False))]
        if len(rows) < len(ids):
            rows.append({ids[-1]: 0.0})
        return _as_arrays(rows)

    def _row(self, place: int, token: int, entry: Mapping[str, Any]) -> dict[int, float]:
        """Id -> log-probability, that of the token first."""
        if token not in self._ids_of(entry):
            there = self._tokenizer.convert_ids_to_tokens(token)
            raise RecipeError(f"token {place + 1} is {entry.get('token')!r} to the API and {there!r} to the upstream's tokenizer")
        row = {token: _number(entry)}
        for other in entry.get("top_logprobs") or ():
            ids = self._ids_of(other)
            if len(ids) == 1:
                row.setdefault(next(iter(ids)), _number(other))
        if sum(map(math.exp, row.values())) > 1 + _SLACK:
            raise RecipeError(f"the probabilities at token {place + 1} sum to more than 1")
        return dict(list(row.items())[:PLACES])

    def _ids_of(self, entry: Mapping[str, Any]) -> set[int]:
        """All ids that look like it."""
        token, said = entry.get("token"), entry.get("bytes")
        number = _ID.fullmatch(token) if isinstance(token, str) else None
        if number is not None:
            return {int(number[1])}
        try:
            look = bytes(said) if said is not None else str(token).encode()
        except (TypeError, ValueError, UnicodeEncodeError):
            return set()
        return self._looks.get(look, set())


def api_key(dataset: str, tokenizer: str) -> Key:
    """The cache of what came with a dataset's answers. `dataset`: its fingerprint."""
    return Key(tokenizer=tokenizer, teacher=f"api:{dataset}", tier="top_k", parameters={"k": PLACES, "temperature": 1})


def misfits(folder: Path, said: Iterable[tuple[Example, Said]]) -> dict[str, str]:
    """Example id -> why what was said about its answer are not the tokens of the tokenizer in `folder`; empty: all are.

    A few are nobody's fault: a sampled answer may be cut into tokens as its own text never would be.
    """
    return _misfits(Aligner(folder), said)


def keep_said(root: Path, dataset: str, folder: Path, said: Collection[tuple[Example, Said]]) -> int:
    """Write what an API said about these examples into the dataset's cache below `root`; returns how many were new.

    `folder` holds the upstream's tokenizer; `said` is read twice, a block at a time. Raises RecipeError, with the number of
    examples that do not align and the first reason, and keeps none of them then; StoreError where the disk refuses.
    """
    aligner, new = Aligner(folder), 0
    refused = _misfits(aligner, said)
    if refused:
        raise RecipeError(refusal(refused, len(said), folder))
    with SignalWriter(root, api_key(dataset, aligner.hash), Shape(vocabulary=aligner.vocabulary)) as writer:
        waiting = iter(said)
        while block := list(islice(waiting, BLOCK)):
            aligned = {example.id: _aligned(aligner, example, words) for example, words in block}
            entries = writer.missing(entry for entry, _ in aligned.values())
            if entries:
                parts = zip(*(vars(aligned[entry.example][1]).values() for entry in entries), strict=True)
                writer.add(entries, TopRows(*(np.concatenate(part) for part in parts)))
            new += len(entries)
    return new


def refusal(refused: Mapping[str, str], total: int, folder: Path) -> str:
    """How many answers do not align, the first of them and why, and what would work."""
    example, reason = next(iter(refused.items()))
    return (
        f"The log-probabilities of {len(refused)} of {total} answers are not of the tokens of the tokenizer in {folder}. The "
        f"first, {example}: {reason}. {REMEDY}"
    )


def api_teacher(root: Path, dataset: str, tokenizer: str, rows: Sequence[Encoded]) -> CachedTeacher:
    """What came with the answers, as the teacher of a student with this `tokenizer` (its hash).

    Raises RecipeError where there is nothing kept for that tokenizer, or not for all of `rows`.
    """
    folder = root / api_key(dataset, tokenizer).name
    entries = [_entry(row.example, tuple(int(t) for t in row.targets) or row.tokens[row.answer_start :]) for row in rows]
    if not folder.is_dir():
        raise RecipeError(
            "No log-probabilities are kept of this dataset's answers for the student's tokenizer. Keep them with: stillhouse "
            "signals keep DATASET, or stillhouse label ... --logprobs 20; and give the student the upstream's tokenizer "
            f"([student] tokenizer). {REMEDY}"
        )
    reader = SignalReader(folder)
    lacking = reader.missing(entries)
    if lacking:
        raise RecipeError(
            f"{len(lacking)} of {len(entries)} examples have no log-probabilities ({lacking[0].example} for one): they came "
            f"without, or the answer was changed since. Leave them out of the dataset, or learn from the text. {REMEDY}"
        )
    return CachedTeacher(reader, entries)


def _misfits(aligner: Aligner, said: Iterable[tuple[Example, Said]]) -> dict[str, str]:
    refused = {}
    for example, words in said:
        try:
            _aligned(aligner, example, words)
        except RecipeError as exc:
            refused[example.id] = str(exc)
    return refused


def _aligned(aligner: Aligner, example: Example, words: Said) -> tuple[Entry, TopRows]:
    """Raises RecipeError where they are other tokens than the answer's."""
    return _entry(example.id, aligner.ids(example.answer)), aligner.rows(example.answer, words)


def _entry(example: str, ids: Sequence[int]) -> Entry:
    """Only the answer counts: however the student's template writes the question, the API was asked the same."""
    content = fingerprint(np.asarray(ids, dtype="<i8").tobytes()).removeprefix("sha256:")[:32]
    return Entry(example=example, content=content, rows=len(ids))


def _as_arrays(rows: Sequence[Mapping[int, float]]) -> TopRows:
    ids_NK = np.zeros((len(rows), PLACES), dtype=np.int32)
    log_probs_NK = np.full((len(rows), PLACES), -np.inf, dtype=np.float16)
    tail_N = np.zeros(len(rows))
    for n, row in enumerate(rows):
        ids_NK[n] = next(iter(row))
        ids_NK[n, : len(row)] = list(row)
        log_probs_NK[n, : len(row)] = list(row.values())
        tail_N[n] = max(1.0 - math.fsum(map(math.exp, row.values())), 0.0)
    with np.errstate(divide="ignore"):
        return TopRows(ids_NK, log_probs_NK, np.log(tail_N).astype(np.float16))


def _number(entry: Mapping[str, Any]) -> float:
    """A log-probability; what says that a token cannot be (-9999) is as small as float16 goes."""
    value = entry.get("logprob")
    if not isinstance(value, int | float) or not -math.inf <= value <= _SLACK:
        raise RecipeError(f"{value!r} is no log-probability (token {entry.get('token')!r})")
    return max(min(float(value), 0.0), -60_000.0)


def _looks(tokenizer: Any) -> Iterable[tuple[int, bytes]]:
    """(id, what a server may say it is): its text, its bytes where it is part of a character, and as the vocabulary writes it."""
    of = TokenBytes(tokenizer).of
    for token in range(len(tokenizer)):
        written = tokenizer.convert_ids_to_tokens(token)
        if written is None:
            continue
        text = str(tokenizer.decode([token]))
        there = of(token, text)
        looks = {bytes(there)} if there else set()
        looks.add(str(written).replace("\u2581", " ").encode())  # how SentencePiece writes a space, which decoding alone drops
        yield from ((token, look) for look in looks if look)
