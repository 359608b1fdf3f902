"""Asking a teacher once for all it will say in a run, and keeping it: what its cache lacks is computed and written.

What is in a cache and how it lies on disk is `signals/`; who reads it while a student trains is `teachers/cached.py`.

Shapes: N rows of a micro-batch, M rows of a slice, H the teacher's width, V vocabulary, K kept tokens, S draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillhouse.artifacts import files_of
from stillhouse.errors import NotFoundError, RecipeError, StoreError, TrainingError
from stillhouse.files import hash_file
from stillhouse.losses.base import at_least_float32
from stillhouse.method import WhiteBox
from stillhouse.records import fingerprint
from stillhouse.signals import (
    Entry,
    HiddenRows,
    Key,
    Rows,
    ScoreRows,
    Shape,
    SignalReader,
    SignalWriter,
    TopRows,
    sampled_rows,
)
from stillhouse.students.base import Trainable
from stillhouse.tensors import Encoded, Head, Output
from stillhouse.training.inner_states import columns_of_states, wanted_of
from stillhouse.training.teachers.base import asked

TOKENS = 4096
"""Positions, padding included, of a batch that the teacher reads; what it says about one is one block of the cache."""
SLICE_NUMBERS = 1 << 22
"""Scores that stand at once."""
CONFIGURATIONS = ("config.json", "student.json")
"""Files that say what the weights are: transformers' and our own."""
SECONDS = 5.0
"""Between two words about how far it is."""

Array = NDArray[np.generic]


def key_of(method: WhiteBox, *, tokenizer: str, teacher: str, states: Sequence[str] = (), vocabulary: int | None = None) -> Key:
    """The cache that this method reads. `teacher`: `teacher_hash` of its folder; `states`: as `inner_states.names_of` gives them;
    `vocabulary`: how many tokens there are, for teachers that score tokens.

    Raises RecipeError where a tier that keeps one temperature is asked for another, or for several.
    """
    cache, parameters = method.cache, dict[str, float]()
    several = method.temperature_end not in (None, method.temperature) or method.temperature_by == "token"
    if cache.tier == "top_k":
        if several:
            raise RecipeError(
                'cache.tier = "top_k" holds probabilities at one temperature, and the method has several. Set cache.tier = '
                '"hidden", or leave temperature_end and temperature_by out.'
            )
        parameters = {"k": cache.k, "temperature": method.temperature}
    elif cache.tier == "sampled":
        if several or method.temperature != 1.0:
            raise RecipeError(
                'cache.tier = "sampled" holds tokens drawn at temperature 1. Set temperature = 1, or cache.tier = "hidden".'
            )
        parameters = {"samples": cache.samples, "seed": 0}
    if vocabulary is not None:
        parameters["vocabulary"] = vocabulary
    return Key(tokenizer=tokenizer, teacher=teacher, tier=cache.tier, parameters=parameters, states=tuple(states))


def teacher_hash(folder: Path) -> str:
    """Of a model folder's weights and configuration as they are now, whatever its manifest says; no weight is loaded."""
    decisive = sorted(name for name in files_of(folder) if name.endswith(".safetensors") or name in CONFIGURATIONS)
    return fingerprint(*(f"{name} {hash_file(folder / name)}".encode() for name in decisive))


def entry_of(row: Encoded) -> Entry:
    """What an example is found by, and the hash of all that a network reads of it."""
    parts = (row.tokens, (row.answer_start,), row.segments, row.places)
    numbers = [np.asarray(part, dtype="<i8").tobytes() for part in parts]
    content = fingerprint(*numbers, repr(row.targets).encode()).removeprefix("sha256:")[:32]
    return Entry(example=row.example, content=content, rows=len(row.targets) or len(row.tokens) - row.answer_start)


def ensure_cache(
    root: Path,
    key: Key,
    rows: Sequence[Encoded],
    load: Callable[[], Trainable],
    *,
    say: Callable[[str], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SignalReader | None:
    """The cache `key` below `root`, after whatever it lacks of `rows` was asked of the teacher. None: it was asked to stop.

    `rows` are examples as the teacher reads them. `load` gives the teacher, and is not called where nothing is missing. Killed or
    stopped, it goes on where it was, to the same bytes. Raises StoreError where the disk refuses or another
    cache lies there, TrainingError for states beyond float16, ConflictError while another process builds the same cache.
    """
    entries = {row.example: entry_of(row) for row in rows}
    reader = _opened(root / key.name)
    if reader is not None and reader.key != key:
        raise StoreError(
            f"The teacher's cache in {root / key.name} is another one's, under a name that is not its own. Remove that folder."
        )
    missing = list(entries.values()) if reader is None else reader.missing(entries.values())
    if reader is not None and not missing:
        return reader
    for damage in [] if reader is None else reader.damage:
        say(f"teacher's cache: {damage}; what it held is asked for again")
    lacking = {entry.example for entry in missing}
    wanted = {row.example: row for row in rows if row.example in lacking}
    if not _build(root, key, list(wanted.values()), load(), say, should_stop):
        return None
    return SignalReader(root / key.name)


def _opened(folder: Path) -> SignalReader | None:
    try:
        return SignalReader(folder)
    except (NotFoundError, StoreError):
        return None


def _build(
    root: Path,
    key: Key,
    rows: Sequence[Encoded],
    teacher: Trainable,
    say: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Batches of alike lengths, the shortest first. Returns whether it came to the end."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher.network.to(device).eval()
    head = _head_of(teacher, rows[0], device)
    progress = _Progress(sum(row.length for row in rows), len(rows), say)
    shape = Shape(vocabulary=head.size, scale=head.scale, soft_cap=head.soft_cap)
    with SignalWriter(root, key, shape, _head_arrays(head) if key.tier == "hidden" else None) as writer:
        for batch in _batches(rows):
            if should_stop():
                say("stopped while the teacher was asked; resume goes on from here")
                return False
            _ask(teacher, key, batch, writer, device)
            progress.add(sum(row.length for row in batch), len(batch))
    progress.end()
    return True


def _ask(teacher: Trainable, key: Key, rows: Sequence[Encoded], writer: SignalWriter, device: torch.device) -> None:
    """One forward pass, one block."""
    batch = teacher.collate(rows).to(device)
    entries = [entry_of(row) for row in rows]
    counts = torch.bincount(batch.owners_N, minlength=len(rows)).tolist()
    if counts != [entry.rows for entry in entries]:
        raise TrainingError(f"A batch of '{teacher.kind}' has other rows than its examples: this kind cannot be cached.")
    with torch.no_grad():
        output = asked(teacher, batch, wanted_of(key.states))
        said = _said(output, key, entries)
    writer.add(entries, said, {} if output.states is None else columns_of_states(output.states, key.states))


def _said(output: Output, key: Key, entries: Sequence[Entry]) -> Rows:
    if key.tier == "hidden":
        return HiddenRows(_halved(output.hidden_NH, "states"))
    if key.tier == "logits":
        return ScoreRows(_halved(output.scores_NV, "scores"))
    if key.tier == "top_k":
        return _top_rows(output, int(key.parameters["k"]), key.parameters["temperature"])
    samples, seed = int(key.parameters["samples"]), int(key.parameters["seed"])
    uniform_NS = np.concatenate([_uniform(entry, samples, seed) for entry in entries])
    return sampled_rows(_drawn(output, torch.from_numpy(uniform_NS).to(output.hidden_NH.device)))


def _top_rows(output: Output, k: int, temperature: float) -> TopRows:
    """The tail's log-probability is summed from its own tokens: 1 minus the others would be rounding, where it is small."""
    ids, log_probs, tails = [], [], []
    for hidden_MH in _slices(output):
        log_p_MV = (at_least_float32(output.head.scores(hidden_MH)) / temperature).log_softmax(dim=-1)
        log_p_MK, ids_MK = log_p_MV.topk(min(k, log_p_MV.shape[-1]), dim=-1)
        tails.append(log_p_MV.scatter(-1, ids_MK, -torch.inf).logsumexp(dim=-1).half())
        ids.append(ids_MK.int())
        log_probs.append(log_p_MK.half())
    return TopRows(_numpy(torch.cat(ids)), _numpy(torch.cat(log_probs)), _numpy(torch.cat(tails)))


def _drawn(output: Output, uniform_NS: Tensor) -> Array:
    """The ids at which the cumulated distribution passes the random numbers."""
    drawn, start = [], 0
    for hidden_MH in _slices(output):
        uniform_MS = uniform_NS[start : start + len(hidden_MH)]
        up_to_MV = output.head.scores(hidden_MH).double().softmax(dim=-1).cumsum(dim=-1)
        places_MS = torch.searchsorted(up_to_MV, uniform_MS * up_to_MV[:, -1:], right=True)
        drawn.append(places_MS.clamp(max=up_to_MV.shape[-1] - 1).int())
        start += len(hidden_MH)
    return _numpy(torch.cat(drawn))


def _uniform(entry: Entry, samples: int, seed: int) -> NDArray[np.float64]:
    """Random numbers in [0, 1) for each row, the same whenever and beside whichever others the example is asked."""
    key = np.asarray([seed, int(entry.content[:16], 16)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).random((entry.rows, samples))


def _slices(output: Output) -> Iterator[Tensor]:
    step = max(1, SLICE_NUMBERS // output.head.size)
    for start in range(0, len(output.hidden_NH), step):
        yield output.hidden_NH[start : start + step]


def _halved(values: Tensor, what: str) -> Array:
    """In float16. Raises TrainingError where one is too large for it."""
    half = values.half()
    if not bool(half.isfinite().all()):
        raise TrainingError(
            f"The teacher's {what} reach {float(values.abs().max()):.3g}, and float16 ends at 65,504 (or they are not finite). "
            'Set [method] cache.tier = "top_k", which keeps probabilities, or source = "live".'
        )
    return _numpy(half)


def _numpy(values: Tensor) -> Array:
    array: Array = values.detach().cpu().numpy()
    return array


def _head_of(teacher: Trainable, row: Encoded, device: torch.device) -> Head:
    """It comes with an answer only: the teacher is asked about one example."""
    return asked(teacher, teacher.collate([row]).to(device)).head


def _head_arrays(head: Head) -> dict[str, Array]:
    arrays = {"weight": _numpy(head.weight_VH.float())}
    return arrays if head.bias_V is None else {**arrays, "bias": _numpy(head.bias_V.float())}


def _batches(rows: Sequence[Encoded]) -> Iterator[list[Encoded]]:
    """By length, cut where the padded batch would be more than `TOKENS`. What is left of a build is cut as its whole was."""
    batch: list[Encoded] = []
    for row in sorted(rows, key=lambda row: row.length):
        if batch and (len(batch) + 1) * row.length > TOKENS:
            yield batch
            batch = []
        batch.append(row)
    yield batch


class _Progress:
    """Says now and then how far a build is, how fast, and when it will be done."""

    def __init__(self, tokens: int, examples: int, say: Callable[[str], None]) -> None:
        self._tokens, self._examples = tokens, examples
        self._say = say
        self._read, self._done = 0, 0
        self._began = self._said = time.monotonic()
        say(f"teacher's cache: {examples:,} examples to ask")

    def add(self, tokens: int, examples: int) -> None:
        self._read += tokens
        self._done += examples
        now = time.monotonic()
        if now - self._said >= SECONDS:
            self._said = now
            rate = self._read / (now - self._began)
            left = (self._tokens - self._read) / rate
            self._say(f"teacher's cache: {self._done:,} of {self._examples:,} examples, {rate:,.0f} tokens/s, {left:,.0f} s left")

    def end(self) -> None:
        seconds = max(time.monotonic() - self._began, 1e-9)
        self._say(f"teacher's cache: {self._done:,} examples in {seconds:,.1f} s, {self._read / seconds:,.0f} tokens/s")
