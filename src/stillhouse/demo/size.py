"""How large the demo is: what fits into seven minutes of two cores and shows the effect. Measured in docs/log.md."""

from __future__ import annotations

from stillhouse.records import Record


class Size(Record):
    """The numbers of one demo."""

    questions: int = 1_700
    """A task, for the teacher."""
    samples: int = 1
    """Answers a question."""
    temperature: float | None = 0.7
    """None: not sent, for models that refuse it."""
    unseen: int = 150
    """Questions a task, for the evaluation."""
    steps: int = 4_200
    """Of the student's training, and of the control's."""
    batch_size: int = 32
    learning_rate: float = 4e-3
