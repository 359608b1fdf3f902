"""Self-consistency as a ChatModel (Wang et al. 2023): of several sampled answers, the one that most come to is the answer.

It wraps any other: a request for `n` choices comes back with the elected one first, so that whoever reads the first choice, an
evaluation for one, reads the majority's. Where answers stand and when two are the same are the rules of `stillhouse.answers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from stillhouse.answers import AnswerType, Place, extract
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk
from stillhouse.reasoning.thinking import split_text


class SelfConsistent:
    """Votes over the choices of one response; a response with a single choice passes as it came."""

    def __init__(self, inner: ChatModel, answers: AnswerType, place: Place) -> None:
        self._inner = inner
        self._answers = answers
        self._place = place

    async def complete(self, request: ChatRequest) -> ChatResponse:
        response = await self._inner.complete(request)
        choices = response.choices
        if len(choices) < 2:
            return response
        first = elected([_text(choice) for choice in choices], self._answers, self._place)
        ordered = [choices[first], *choices[:first], *choices[first + 1 :]]
        numbered = [{**choice, "index": index} for index, choice in enumerate(ordered)]
        return ChatResponse.build({**response.body, "choices": numbered})

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """As the inner model streams: choices that are being said cannot be counted."""
        return self._inner.stream(request)

    async def close(self) -> None:
        await self._inner.close()


def elected(texts: Sequence[str], answers: AnswerType, place: Place) -> int:
    """Which text comes first to the most frequent answer; ties go to the answer that came first.

    A text without an answer has no vote; where none has one, the first text is it.
    """
    said = [extract(text, answers, place) for text in texts]
    forms = [None if each is None else answers.canonical(each) for each in said]
    votes = Counter(form for form in forms if form is not None)
    return forms.index(votes.most_common(1)[0][0]) if votes else 0


def _text(choice: dict[str, Any]) -> str:
    """What it says, its thoughts left out."""
    content = (choice.get("message") or {}).get("content")
    return split_text(content).text if isinstance(content, str) else ""
