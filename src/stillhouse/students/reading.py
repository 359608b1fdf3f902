"""What all students share that read a text and give labels or a number: texts to tokens, answers to rows, scores to answers.

The kinds (`encoder`, `static`) add a network, how it is built and saved. One supervised row an example, or one a word.

Shapes: B examples, T positions, N supervised rows, K tasks, V scores, H width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.errors import ContextLengthError, RecipeError, TrainingError, UsageError
from stillhouse.students.adapting import parameter_count
from stillhouse.students.base import last_user_text
from stillhouse.students.cards import Card
from stillhouse.students.collating.encoder import collate_encoder
from stillhouse.students.engines import Verdict
from stillhouse.students.folders import tokenizer_hash
from stillhouse.students.texts import (
    label_of,
    labels_of_words,
    number_of,
    pair_of,
    task_of,
    task_of_example,
    words_of,
    written_labels,
    written_number,
)
from stillhouse.tensors import Batch, Encoded, Head, Output, States, Wanted

BATCH = 32
"""Texts that are answered together, of like length."""
WALL = -1e4
"""Added to the scores of other tasks' labels: no probability at any temperature, and yet no infinity."""


class Read(NamedTuple):
    """A text as tokens."""

    tokens: tuple[int, ...]
    segments: tuple[int, ...]
    places: tuple[int, ...]
    """Of the words' first tokens, where words are labelled."""


class ReadingStudent:
    """A network, its tokenizer and its card. A kind gives `_rows`, `save` and `load`."""

    kind: str
    takes_segments = False
    """Whether the network tells the texts of a pair apart by number."""
    max_positions: int | None = None
    """Longest text the network was shaped for, in tokens."""

    def __init__(self, network: Any, tokenizer: Any, card: Card) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.card = card
        pad = tokenizer.pad_token_id
        self.pad_id = int(pad) if pad is not None else 0  # what is padded is masked, so any token will do
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_padding()
        if card.max_length is None:
            self._backend.no_truncation()
        else:
            self._backend.enable_truncation(card.max_length)

    # -- what the trainer asks -------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Numbers, embeddings included; tied ones count once, adapters not at all, because they end up in the weights."""
        return parameter_count(self.network)

    @property
    def vocabulary_size(self) -> int:
        """V: labels of all tasks, or 1."""
        return self.card.size

    @property
    def row_labels(self) -> tuple[str, ...]:
        """What each score is of; empty for a number."""
        return self.card.labels.names

    def tokenizer_hash(self) -> str:
        """Equal for tokenizers that turn every text into the same ids."""
        return tokenizer_hash(self.tokenizer)

    def encode(self, examples: Sequence[Example], *, max_tokens: int) -> list[Encoded]:
        """Examples for training, in order. One outside of the train split whose label is unknown weighs nothing.

        Raises TrainingError that names the example without a usable answer, RecipeError for a text that is too long.
        """
        read = self._read([example.messages for example in examples])
        limit = min(max_tokens, self.max_positions or max_tokens)
        for example, text in zip(examples, read, strict=True):
            if len(text.tokens) > limit:
                raise RecipeError(
                    f"The text of example {example.id} has {len(text.tokens)} tokens, and at most {limit} are read (training."
                    f"max_tokens = {max_tokens}, the network's positions: {self.max_positions}). Set [student.config] max_length "
                    "to cut longer ones, taught and asked alike."
                )
        return [self._encoded(example, text) for example, text in zip(examples, read, strict=True)]

    def collate(self, rows: Sequence[Encoded]) -> Batch:
        """Padded on the right, with a mask."""
        objective = self.card.objective
        return collate_encoder(rows, self.pad_id, words=objective == "tokens", numbers=objective == "regression")

    def output(self, batch: Batch, *, wanted: Wanted | None = None) -> Output:
        """The state of each row, and the head; with several tasks it lets each row see its own task's labels only."""
        states, inner = self._states(batch, wanted)
        rows_NH = states.flatten(0, -2).index_select(0, batch.positions_N)
        last = self.network.last
        head = Head(last.weight, last.bias)
        if not self.card.labels.several:
            return Output(rows_NH, head, inner)
        told_NK = self._told(batch).to(rows_NH)
        walls_VK = self._walls().to(last.weight)
        widened = replace(head, weight_VH=torch.cat([last.weight, walls_VK], dim=1))
        return Output(torch.cat([rows_NH, told_NK], dim=1), widened, inner)

    def _states(self, batch: Batch, wanted: Wanted | None) -> tuple[Tensor, States | None]:
        """What the last layer reads, BxH or BxTxH, and the inner states that are wanted."""
        raise NotImplementedError

    def _told(self, batch: Batch) -> Tensor:
        """Which task each row is of, one-hot: told_NK."""
        tasks = self.card.labels.tasks
        numbers_B = torch.tensor([tasks.index(task) for task in batch.tasks], device=batch.owners_N.device)
        return torch.nn.functional.one_hot(numbers_B[batch.owners_N], len(tasks))

    def _walls(self) -> Tensor:
        """What a row's task adds to each score: 0 at its own labels. walls_VK."""
        labels = self.card.labels
        walls_VK = torch.full((len(labels.names), len(labels.tasks)), WALL)
        for column, task in enumerate(labels.tasks):
            span = labels.span(task)
            walls_VK[span.start : span.stop, column] = 0.0
        return walls_VK

    # -- texts and tokens ------------------------------------------------------------------------------------------------

    def _read(self, chats: Sequence[Sequence[Message]]) -> list[Read]:
        """Chats as tokens, cut to the card's length where it has one. Raises UsageError for a chat without a text."""
        if not chats:
            return []
        pairs = self.card.objective == "pair"
        texts: list[Any] = [pair_of(chat, self.card.separator) if pairs else last_user_text(chat) for chat in chats]
        read = []
        for text, encoding in zip(texts, self._backend.encode_batch(texts), strict=True):
            tokens = tuple(encoding.ids) or (self._blank(),)  # a text of nothing is still a text
            segments = tuple(encoding.type_ids) if pairs and self.takes_segments else ()
            read.append(Read(tokens, segments, self._places(text, encoding) if self.card.objective == "tokens" else ()))
        return read

    def _places(self, text: str, encoding: Any) -> tuple[int, ...]:
        """The first token of each word; a word that gives none has its neighbour's. Raises UsageError for words cut off."""
        if encoding.overflowing:
            raise UsageError(
                f"Words are labelled one by one, and this text has more than max_length = {self.card.max_length} tokens."
            )
        ends = [0 if special else end for (_, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True)]
        last = max(range(len(ends)), key=ends.__getitem__, default=0)
        places, token = [], 0
        for begin, _ in words_of(text):
            while token < last and ends[token] <= begin:
                token += 1
            places.append(token)
        return tuple(places)

    def _blank(self) -> int:
        """The token of an empty text."""
        unknown = self.tokenizer.unk_token_id
        return self.pad_id if unknown is None else int(unknown)

    def _encoded(self, example: Example, read: Read) -> Encoded:
        task = self._task_of_example(example)
        targets, known = self._targets(example, task, read)
        return Encoded(
            example.id,
            read.tokens,
            len(read.tokens),
            example.weight if known else 0.0,
            targets=targets,
            segments=read.segments,
            places=read.places,
            task=task,
        )

    def _task_of_example(self, example: Example) -> str:
        task, tasks = task_of_example(example), self.card.labels.tasks
        if not self.card.labels.several:
            return task
        if task not in tasks:
            raise TrainingError(f"The example {example.id} is of task '{task}', and the student knows: {', '.join(tasks)}.")
        return task

    def _targets(self, example: Example, task: str, read: Read) -> tuple[tuple[int | float, ...], bool]:
        """The rows' targets, and whether all of them are known labels."""
        if self.card.objective == "regression":
            return (number_of(example),), True
        head = task if self.card.labels.several else ""
        names = labels_of_words(example.answer) if self.card.objective == "tokens" else [label_of(example)]
        if self.card.objective == "tokens" and len(names) != len(read.places):
            raise TrainingError(
                f"The example {example.id} has {len(read.places)} words and {len(names)} labels: one a word is needed."
            )
        numbers = [self.card.labels.number(head, name) for name in names]
        unknown = [name for name, number in zip(names, numbers, strict=True) if number is None]
        if unknown and example.split == "train":
            raise TrainingError(
                f"The example {example.id} has the label '{unknown[0]}', which is none of the student's: "
                f"{', '.join(self.card.labels.names[:8])}, ... Add it to [student.config] labels, or remove the example."
            )
        return tuple(number or 0 for number in numbers), not unknown

    # -- answers ---------------------------------------------------------------------------------------------------------

    def answer(self, chats: Sequence[Sequence[Message]], *, max_tokens: int = 256) -> list[str]:
        """The likeliest label of each chat, whole whatever `max_tokens`; a number; or one label a word, spaces between them."""
        rows = self.questions(chats)
        return [self._said(row, scores_MV)[0] for row, scores_MV in zip(rows, self.scores(rows), strict=True)]

    def probabilities(self, chats: Sequence[Sequence[Message]]) -> list[dict[str, float]]:
        """Label -> probability, for each chat; each sums to 1. Raises UsageError for a student that labels no whole texts."""
        if self.card.objective not in ("classification", "pair"):
            raise UsageError(f"A student of objective '{self.card.objective}' gives no probabilities of labels for a text.")
        return [verdict.probabilities[0] for verdict in self.verdicts(self.questions(chats))]

    def questions(self, chats: Sequence[Sequence[Message]]) -> list[Encoded]:
        """Chats as rows to be answered. Raises UsageError for one without a text or a known task, ContextLengthError."""
        return [self._question(chat, read) for chat, read in zip(chats, self._read(chats), strict=True)]

    def verdicts(self, rows: Sequence[Encoded]) -> list[Verdict]:
        """What is answered to each, in order."""
        return [self._verdict(row, scores_MV) for row, scores_MV in zip(rows, self.scores(rows), strict=True)]

    def scores(self, rows: Sequence[Encoded]) -> list[Tensor]:
        """The scores of each question's rows, MxV in float32, in order: texts of like length together, without dropout."""
        order = sorted(range(len(rows)), key=lambda i: rows[i].length)
        found: dict[int, Tensor] = {}
        with self._asleep(), torch.inference_mode():
            device = next(self.network.parameters()).device
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                scores_NV = self.output(self.collate([rows[i] for i in part]).to(device)).scores_NV.float().cpu()
                found.update(zip(part, torch.split(scores_NV, [len(rows[i].targets) for i in part]), strict=True))
        return [found[i] for i in range(len(rows))]

    def _question(self, chat: Sequence[Message], read: Read) -> Encoded:
        if self.max_positions is not None and len(read.tokens) > self.max_positions:
            raise ContextLengthError(
                f"The text has {len(read.tokens)} tokens and this student reads at most {self.max_positions}. Shorten it."
            )
        task, tasks = task_of(chat), self.card.labels.tasks
        if self.card.labels.several and task not in tasks:
            raise UsageError(f"This student knows several tasks: name one in the last system message, of {', '.join(tasks)}.")
        targets = (0,) * (len(read.places) if self.card.objective == "tokens" else 1)
        return Encoded("", read.tokens, len(read.tokens), 1.0, targets, read.segments, read.places, task)

    def _verdict(self, row: Encoded, scores_MV: Tensor) -> Verdict:
        text, chosen = self._said(row, scores_MV)
        if not chosen:
            return Verdict(text, (), ())
        names, own_MV = self._own(row, scores_MV)
        return Verdict(text, chosen, tuple(dict(zip(names, line, strict=True)) for line in own_MV.softmax(dim=-1).tolist()))

    def _said(self, row: Encoded, scores_MV: Tensor) -> tuple[str, tuple[str, ...]]:
        """The answer, and the labels it consists of; a number has none."""
        if self.card.objective == "regression":
            return written_number(scores_MV.item()), ()
        names, own_MV = self._own(row, scores_MV)
        chosen = tuple(names[number] for number in own_MV.argmax(dim=-1).tolist())
        return written_labels(chosen) if self.card.objective == "tokens" else chosen[0], chosen

    def _own(self, row: Encoded, scores_MV: Tensor) -> tuple[tuple[str, ...], Tensor]:
        """The labels it is chosen from, and their scores."""
        names, places = self.card.labels.own(row.task)
        return names, scores_MV[:, places.start : places.stop]

    @contextmanager
    def _asleep(self) -> Iterator[None]:
        """Without dropout, and as it was afterwards."""
        was = self.network.training
        self.network.eval()
        try:
            yield
        finally:
            self.network.train(was)
