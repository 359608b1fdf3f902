"""What a reasoning model thought, kept apart from what it said.

Servers put it into a field of the message (`reasoning_content`: DeepSeek, vLLM, SGLang; `reasoning`: OpenRouter, newer vLLM) or
leave it in the text between `<think>` tags. Where a template writes the opening tag into the prompt, only the closing one comes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from stillhouse.transcript import message_text

FIELDS = ("reasoning_content", "reasoning")
OPEN, CLOSE = "<think>", "</think>"
_BLOCK = re.compile(rf"\s*{OPEN}(.*?)(?:{CLOSE}|\Z)", re.DOTALL)


class Spoken(NamedTuple):
    """One message, in its two parts."""

    thinking: str
    """'' for models that do not think, or do not show it."""
    text: str


def split_thinking(message: Mapping[str, Any]) -> Spoken:
    """The two parts of an assistant's message. A thought that was never closed is all thought: the model was cut off in it."""
    text = message_text(message)
    apart = next((message[name] for name in FIELDS if isinstance(message.get(name), str) and message[name].strip()), None)
    return split_text(text) if apart is None else Spoken(apart.strip(), split_text(text).text)


def split_text(text: str) -> Spoken:
    """The same of a text alone."""
    thoughts = []
    while block := _BLOCK.match(text):
        thoughts.append(block[1].strip())
        text = text[block.end() :]
    if not thoughts and OPEN not in text and CLOSE in text:
        thought, _, text = text.partition(CLOSE)
        thoughts.append(thought.strip())
    return Spoken("\n\n".join(filter(None, thoughts)), text.strip() if thoughts else text)


def with_thinking(spoken: Spoken) -> str:
    """One text that a student learns both from: the thought between tags, then what was said."""
    return f"{OPEN}\n{spoken.thinking}\n{CLOSE}\n\n{spoken.text}" if spoken.thinking else spoken.text
