"""What every kind of student can do, and the text it sees.

A kind is one class: training builds it and saves it, serving loads it and asks it. How it is trained is `training`'s affair,
how waiting requests are batched is serving's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stillhouse.chat import Message
from stillhouse.errors import UsageError
from stillhouse.generation import text_of

if TYPE_CHECKING:
    from stillhouse.dataset import Example
    from stillhouse.tensors import Batch, Encoded, Output, Wanted

UNSAFE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".h5", ".py", ".so"})
"""Files that can run code when they are loaded, or that hold weights in a form that can."""


class Student(Protocol):
    """A student that was built or loaded. `load(folder)` is a class method of the kind and gives back what `save` wrote."""

    kind: str
    """Its name in the registry of students."""

    @property
    def parameters(self) -> int:
        """Trained numbers, embeddings included; a tied one counts once."""

    def answer(self, chats: Sequence[Sequence[Message]], *, max_tokens: int = 256) -> list[str]:
        """The likeliest answer to each chat, in order. The plain way, kept as the reference for faster ones."""

    def save(self, folder: Path) -> None:
        """Write everything `load` needs into `folder`, as files that run no code when loaded."""

    @classmethod
    def load(cls, folder: Path) -> Student:
        """Raises UsageError for a folder that is not of this kind or holds files that could run code."""


class Trainable(Student, Protocol):
    """A student that is a network: what the trainer, and any teacher that runs beside it, asks of every kind.

    The kind alone knows how its examples become numbers, and which outputs are supervised; the trainer sees rows.
    """

    network: Any
    """A torch.nn.Module."""
    tokenizer: Any

    @property
    def vocabulary_size(self) -> int:
        """V: scores of a row that mean something (tokens, labels, or 1); the head may have more, as padding."""

    @property
    def row_labels(self) -> tuple[str, ...] | None:
        """What each score of a row is of, by name, for students that give labels; empty for a number. None: tokens."""

    def tokenizer_hash(self) -> str:
        """Equal where every text becomes the same ids; scores of students with different ones cannot be compared."""

    def encode(self, examples: Sequence[Example], *, max_tokens: int) -> list[Encoded]:
        """Examples as numbers, in order. Raises TrainingError that names one without an answer, RecipeError for one too long."""

    def collate(self, rows: Sequence[Encoded]) -> Batch:
        """Encoded examples as one micro-batch: the one place where a kind shifts, masks and pads."""

    def output(self, batch: Batch, *, wanted: Wanted | None = None) -> Output:
        """Run the network over a batch: states of the supervised rows and the head, and the inner states that are wanted.

        Raises UsageError where this architecture cannot give one of them.
        """


@runtime_checkable
class Classifier(Protocol):
    """A student that answers at once, with the likeliest of its labels."""

    def answer(self, chats: Sequence[Sequence[Message]], *, max_tokens: int = 256) -> list[str]:
        """The likeliest label of each chat, in order."""

    def probabilities(self, chats: Sequence[Sequence[Message]]) -> list[dict[str, float]]:
        """Label -> probability, for each chat; each sums to 1."""


@runtime_checkable
class WordTable(Protocol):
    """A student that knows words, and which of them are alike."""

    def words_alike(self) -> dict[str, tuple[str, ...]]:
        """Word -> the words most like it; the most frequent word first."""


def last_user_text(chat: Sequence[Message]) -> str:
    """The text of the last user message: what a student sees that reads one text. Raises UsageError where there is none."""
    if isinstance(chat, str):
        raise UsageError('A chat is a list of messages, as in [{"role": "user", "content": "my card is lost"}]; got a text.')
    for message in reversed(chat):
        if message.get("role") == "user":
            return text_of(message)
    raise UsageError("This student reads the last user message, and the chat has none.")


def refuse_unsafe_files(folder: Path) -> None:
    """Raises UsageError where `folder` is missing or holds a file that could run code on loading."""
    if not folder.is_dir():
        raise UsageError(f"There is no model folder at {folder}.")
    unsafe = sorted(path.name for path in folder.rglob("*") if path.suffix.lower() in UNSAFE_SUFFIXES)
    if unsafe:
        raise UsageError(
            f"{folder} holds {', '.join(unsafe[:3])}: such files can run code when loaded, so they are refused. "
            "Keep only .safetensors, .json, .jinja and .txt files in it."
        )
