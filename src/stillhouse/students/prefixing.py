"""A text that a student puts before what it is asked, by itself: whoever asks it, here or elsewhere, need not know.

It lies in the student's folder: within the chat template, which any server renders, or, where there is none (plain T5s), as the
network's `prefix`.
"""

from __future__ import annotations

import json
from typing import Any

_WRAPPING = (
    "{#- asks with a prefix -#}{%- set last = namespace(user=-1) -%}"
    "{%- for message in messages -%}{%- if message['role'] == 'user' -%}{%- set last.user = loop.index0 -%}{%- endif -%}"
    "{%- endfor -%}"
    "{%- set put = namespace(messages=[]) -%}"
    "{%- for message in messages -%}{%- if loop.index0 == last.user -%}"
    "{%- set put.messages = put.messages + [{'role': 'user', 'content': PREFIX + message['content']}] -%}"
    "{%- else -%}{%- set put.messages = put.messages + [message] -%}{%- endif -%}{%- endfor -%}"
    "{%- set messages = put.messages -%}"
)
"""Before the template: the last user message with the prefix, all others as they are."""


def ask_with(student: Any, prefix: str) -> None:
    """From now on the last user message is read as if `prefix` stood before it."""
    tokenizer = student.tokenizer
    if tokenizer.chat_template is None:
        student.network.config.prefix = (getattr(student.network.config, "prefix", None) or "") + prefix
    else:
        tokenizer.chat_template = _wrapping(prefix) + tokenizer.chat_template


def ask_without(student: Any, prefix: str) -> None:
    """Take back what `ask_with` did; nothing where it did nothing."""
    tokenizer = student.tokenizer
    if tokenizer.chat_template is None:
        there = getattr(student.network.config, "prefix", None) or ""
        student.network.config.prefix = there.removesuffix(prefix) or None
    else:
        tokenizer.chat_template = tokenizer.chat_template.removeprefix(_wrapping(prefix))


def _wrapping(prefix: str) -> str:
    return _WRAPPING.replace("PREFIX", json.dumps(prefix))
