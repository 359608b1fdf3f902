"""Whether a file is what its purpose says, line by line, and the rows of a file that a fine-tuning method is to learn from.

At upload nobody knows yet which method will use a training file, so a line passes that any of them could read. The method's own
reader is stricter: it must find something to learn (`training_rows`), and puts aside what it cannot use.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError, UsageError
from stillhouse.formats import FORMATS
from stillhouse.formats.base import (
    Quarantined,
    Row,
    check_messages,
    check_tools,
    printable,
    read_lines,
    row_of_json,
)
from stillhouse.formats.batch_requests import read_requests
from stillhouse.formats.eval_items import read_items
from stillhouse.formats.openai_preference import pair_row
from stillhouse.formats.openai_reinforcement import Prompt, read_prompts
from stillhouse.records import Record

SHOWN = 5
"""Wrong lines that are named; the others are counted."""

APART_BYTES = 4 * 2**20
"""Files above it are checked in a process of their own."""

METHODS = ("supervised", "dpo", "reinforcement")
"""Ways of fine-tuning whose files differ."""


class Verdict(Record):
    """What a check found."""

    lines: int
    wrong: int
    first: tuple[Quarantined, ...]
    """The first wrong lines."""

    @property
    def details(self) -> str | None:
        """What is wrong, in words; None where nothing is."""
        if self.lines == 0:
            return "The file is empty: it needs at least one line of JSON."
        if self.wrong == 0:
            return None
        told = "; ".join(f"line {line.line}: {printable(line.reason)[:200]}" for line in self.first)
        more = f"; and {self.wrong - len(self.first)} more" if self.wrong > len(self.first) else ""
        return f"{self.wrong} of {self.lines} lines cannot be used: {told}{more}."


def check_file(path: Path, purpose: str) -> Verdict | None:
    """The verdict on a file for `purpose`; None where any bytes will do. Raises NotFoundError, FormatError."""
    read = _READERS.get(purpose)
    return None if read is None else _judge(read(path))


def check_apart(path: Path, purpose: str) -> Verdict | None:
    """`check_file`, of a large file in a process of its own: reading a million lines must not slow down who answers requests.

    Raises NotFoundError, FormatError; StillhouseError where the process fails.
    """
    if purpose not in _READERS or path.stat().st_size <= APART_BYTES:
        return check_file(path, purpose)
    command = [sys.executable, "-c", "from stillhouse.filing.checking import main; main()", str(path), purpose]
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise StillhouseError(f"The file could not be checked: the process for it ended with {done.returncode}.")
    return Verdict.model_validate_json(done.stdout)


def main() -> None:
    """The process of `check_apart`: a verdict as JSON."""
    verdict = check_file(Path(sys.argv[1]), sys.argv[2])
    assert verdict is not None
    print(verdict.model_dump_json())


def check_training(path: Path, method: str) -> Verdict:
    """The verdict on a file for one method of fine-tuning. Raises UsageError for an unknown one, NotFoundError, FormatError."""
    return _judge(training_rows(path, method))


def training_rows(path: Path, method: str) -> Iterator[Row | Prompt | Quarantined]:
    """What `method` learns from a file, and the lines put aside: `Row`s for supervised and dpo, `Prompt`s for reinforcement.

    Raises UsageError for an unknown method, NotFoundError, FormatError.
    """
    if method == "reinforcement":
        return read_prompts(path)
    if method not in METHODS:
        raise UsageError(f"There is no fine-tuning method '{method[:40]}'. There are: {', '.join(METHODS)}.")
    rows: Iterator[Row | Quarantined] = FORMATS.resolve("openai_preference" if method == "dpo" else "openai_jsonl")().read(path)
    return rows


def training_line(number: int, value: Any) -> int:
    """`number`, of a line that some method reads. Raises ValueError with the reason why none does."""
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if "preferred_output" in value or "non_preferred_output" in value:
        return pair_row(number, value).line
    check_tools(value.get("tools"))
    messages = check_messages(value.get("messages"))
    weights = [message.get("weight") for message in messages if message.get("weight") is not None]
    wrong = [weight for weight in weights if isinstance(weight, bool) or weight not in (0, 1)]
    if wrong:
        raise ValueError(f"a message has the weight {wrong[0]!r}; allowed are 0 and 1")
    last = messages[-1]
    if last["role"] == "assistant" and not last.get("content") and not (last.get("tool_calls") or last.get("function_call")):
        raise ValueError("its answer is empty")
    return number


def _training_lines(path: Path) -> Iterator[int | Quarantined]:
    return (row_of_json(line, "utf-8", training_line) for line in read_lines(path))


def _judge(rows: Iterable[object]) -> Verdict:
    lines, wrong = 0, 0
    first: list[Quarantined] = []
    for row in rows:
        lines += 1
        if isinstance(row, Quarantined):
            wrong += 1
            if len(first) < SHOWN:
                first.append(row)
    return Verdict(lines=lines, wrong=wrong, first=tuple(first))


_READERS: dict[str, Callable[[Path], Iterable[object]]] = {
    "fine-tune": _training_lines,
    "evals": read_items,
    "batch": read_requests,
}
