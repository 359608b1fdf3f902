"""Self-consistency: the majority's answer comes first, by the rules of its type."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from stillhouse.answers import answer_type
from stillhouse.chat import ChatRequest, ChatResponse, Message
from stillhouse.models.fake import FakeModel
from stillhouse.reasoning.templates import place_of
from stillhouse.self_consistency import SelfConsistent, elected

ASKED: list[Message] = [{"role": "user", "content": "How many?"}]


class Sampled(FakeModel):
    """Says the texts in turn, one a choice."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(lambda request: "")
        self._texts = texts

    async def complete(self, request: ChatRequest) -> ChatResponse:
        body = (await super().complete(request)).body
        choices = [
            {**choice, "message": {"role": "assistant", "content": text}}
            for choice, text in zip(body["choices"], self._texts, strict=True)
        ]
        return ChatResponse.build({**body, "choices": choices})


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        (["The answer is 4.", "The answer is $1,000.", "So the answer is 1000.0"], 1),
        (["The answer is 4.", "The answer is 5."], 0),  # a tie
        (["I do not know.", "No idea.", "The answer is 7."], 2),
        (["I do not know.", "No idea."], 0),
        (["<think>the answer is 9</think>The answer is 8.", "The answer is 9.", "The answer is 8."], 0),
    ],
)
def test_most_answers_decide(texts: list[str], first: int) -> None:
    model = SelfConsistent(Sampled(texts), answer_type("number"), place_of("chat"))
    response = asyncio.run(model.complete(ChatRequest.build("any", ASKED, n=len(texts))))
    assert response.text == texts[first]
    assert sorted(choice["message"]["content"] for choice in response.choices) == sorted(texts)
    assert [choice["index"] for choice in response.choices] == list(range(len(texts)))


def test_a_single_answer_passes_as_it_came() -> None:
    inner = Sampled(["The answer is 4."])
    response = asyncio.run(
        SelfConsistent(inner, answer_type("number"), place_of("chat")).complete(ChatRequest.build("any", ASKED))
    )
    assert response.text == "The answer is 4."


def test_where_the_answer_stands_is_the_templates() -> None:
    texts = ["5 and 7 --> 12", "5 and 8 --> 13", "6 and 7 --> 13"]
    assert elected(texts, answer_type("number"), place_of("ft_cot_token")) == 1
