"""What to label next: who may be picked at all, and that neither order nor chance changes who is."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.chat import ChatRequest, ChatResponse
from stillhouse.curation.selecting import AGAIN, HELD_OUT, LABELLED, UNANSWERED, Wanted, asking, candidates, select
from stillhouse.dataset import Example
from stillhouse.errors import UpstreamError, UsageError
from stillhouse.models.fake import FakeModel
from stillhouse.selectors.base import Opinion
from tests.curation.examples import an_example, prompts
from tests.curation.test_build import questions
from tests.selectors.pools import opinion

TEXTS = questions(40, words=20)


async def torn_by_length(examples: Sequence[Example]) -> list[Opinion | None]:
    """A student that doubts by how long a question is."""
    doubts = [(len(text) % 17) / 40 for text in prompts(examples)]
    return [opinion(1 - doubt, doubt) for doubt in doubts]


@pytest.mark.parametrize("by", ["margin", "k_means", "k_center", "random", "entropy+k_means"])
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 100))
async def test_the_order_of_pool_and_labelled_does_not_matter(by: str, seed: int) -> None:
    pool, labelled = [an_example(text) for text in TEXTS[:30]], [an_example(text) for text in TEXTS[30:]]
    shuffled, known = random.Random(seed).sample(pool, 30), random.Random(seed).sample(labelled, 10)
    wanted = Wanted(by=by, n=8, seed=3)
    first = await select(wanted, pool, labelled=labelled, ask=torn_by_length)
    assert await select(wanted, shuffled, labelled=known, ask=torn_by_length) == first
    assert len({each.id for each in first.chosen}) == 8


def test_what_is_labelled_held_out_or_said_twice_cannot_be_picked_and_is_counted() -> None:
    labelled, held_out = [an_example(TEXTS[0])], [an_example(TEXTS[1], split="test")]
    pool = [
        an_example(TEXTS[0].upper()),  # equal once normalised
        an_example(TEXTS[0] + "!!"),  # nearly labelled
        an_example(TEXTS[1], "another answer"),
        an_example(TEXTS[1].replace("?", "??")),
        an_example(TEXTS[2]),
        an_example(TEXTS[2], "other"),
        an_example(TEXTS[2] + " ."),
        an_example(TEXTS[3]),
    ]
    kept, left_out = candidates(pool, labelled, held_out, 0.9)
    assert len(kept) == 2
    assert left_out == {LABELLED: 2, HELD_OUT: 2, AGAIN: 2}
    exact, left_out = candidates(pool, labelled, held_out, None)
    assert len(exact) == 5 and left_out == {LABELLED: 1, HELD_OUT: 1, AGAIN: 1}


async def test_near_copies_are_never_picked_together() -> None:
    pool = [an_example(text + end) for text in TEXTS[:10] for end in ("", "!", " ?")]
    found = await select(Wanted(by="k_means", n=30), pool)
    assert found.pool == len(found.chosen) == 10
    assert found.left_out == {AGAIN: 20}


async def test_a_student_is_needed_where_its_doubts_count_and_must_give_probabilities() -> None:
    pool = [an_example(text) for text in TEXTS[:5]]
    with pytest.raises(UsageError, match="--student"):
        await select(Wanted(by="margin"), pool)

    async def mute(examples: Sequence[Example]) -> list[Opinion | None]:
        return [Opinion("yes") for _ in examples]

    with pytest.raises(UsageError, match="log-probabilities"):
        await select(Wanted(by="margin"), pool, ask=mute)


async def test_disagreement_compares_with_the_answers_that_are_there() -> None:
    pool = [an_example(text, "yes" if place % 2 else "no") for place, text in enumerate(TEXTS[:10])]

    async def always_yes(examples: Sequence[Example]) -> list[Opinion | None]:
        return [Opinion("Yes.") for _ in examples]

    found = await select(Wanted(by="disagreement", n=10), pool, ask=always_yes)
    assert {each.id for each in found.chosen} == {each.id for each in pool if each.answer == "no"}


async def test_an_embedders_vectors_replace_tf_idf() -> None:
    class TwoWays:
        name = "two"

        async def embed(self, texts: Sequence[str]) -> list[list[float]]:
            return [[1.0, 0.0] if text.startswith("question 1") else [0.0, 1.0] for text in texts]

    pool = [an_example(text) for text in TEXTS[:20]]
    found = await select(Wanted(by="k_center", n=2), pool, embedder=TwoWays())
    starts = {each.messages[-1]["content"].startswith("Question 1") for each in found.chosen}
    assert starts == {True, False}


class Sure(FakeModel):
    """Says `a` with a probability, except to one question."""

    async def complete(self, request: ChatRequest) -> ChatResponse:
        self.requests.append(request)
        if request.messages[-1]["content"] == TEXTS[0]:
            raise UpstreamError("no", status=400)
        logprobs = {"content": [{"token": "a", "logprob": -0.1, "top_logprobs": [{"logprob": -0.1}, {"logprob": -2.4}]}]}
        return ChatResponse.build({"choices": [{"message": {"content": "a"}, "logprobs": logprobs}]})


async def test_a_model_is_asked_once_a_text_for_its_probabilities_and_may_fail() -> None:
    model = Sure(lambda request: "a")
    found = await select(Wanted(by="margin", n=9), [an_example(text) for text in TEXTS[:4]], ask=asking(model, "s"))
    assert (len(found.chosen), found.left_out) == (3, {UNANSWERED: 1})
    assert len(model.requests) == 4
    sent = {(each.body["logprobs"], each.body["top_logprobs"], each.body["temperature"]) for each in model.requests}
    assert sent == {(True, 20, 0)}
