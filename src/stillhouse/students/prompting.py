"""From a chat to the text of a prompt, and from texts to token ids: the one place for every kind that reads whole chats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stillhouse.chat import Message
from stillhouse.errors import UsageError
from stillhouse.generation import text_of


def render(tokenizer: Any, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None = None) -> str:
    """The chat through the tokenizer's own template, up to where the answer begins.

    Raises UsageError where there is no template, where it fails, and for content that is not text.
    """
    if tokenizer.chat_template is None:
        raise UsageError("The tokenizer has no chat template: put a chat_template.jinja into its folder.")
    plain = [{**message, "content": text_of(message)} for message in messages]
    try:
        text = tokenizer.apply_chat_template(plain, tools=tools, tokenize=False, add_generation_prompt=True)
    except Exception as exc:  # templates are programs: a jinja error of any class, or a TypeError within
        raise UsageError(f"The chat template cannot render this chat: {exc}.") from exc
    return str(text)


def ids_of(tokenizer: Any, texts: Sequence[str], *, special: bool = False) -> list[list[int]]:
    """The token ids of each text; `special`: with what the tokenizer itself puts around a text."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=special, return_attention_mask=False)["input_ids"]
    return ids
