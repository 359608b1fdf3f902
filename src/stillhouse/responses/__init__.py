"""The Responses API in the words of chat completions, and back: pure translation, so that every ChatModel answers both.

New client code speaks `POST /v1/responses`. What it asks is a chat request under other names (`asking`); what a model says comes
as output items (`answering`) or the events of a stream (`streaming`). What a chat has no place for is refused, never dropped.
"""

from __future__ import annotations

from stillhouse.responses.answering import answered, failed
from stillhouse.responses.asking import chat_request, input_items, messages_of, skeleton
from stillhouse.responses.streaming import Events

__all__ = ["Events", "answered", "chat_request", "failed", "input_items", "messages_of", "skeleton"]
