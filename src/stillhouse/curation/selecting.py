"""What to label next: of texts without a label, those that are worth one most, by a selector (`stillhouse.selectors`).

Picked are whole questions to be asked of a teacher or a person. None is ever picked that is labelled already, that valid or test
ask, or that says again what another one of the pool says, exactly or nearly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from stillhouse.apply import Ask, Outcome, Patience, apply
from stillhouse.chat import ChatModel, ChatRequest, Message
from stillhouse.curation.leaks import NEAR_LEAKS
from stillhouse.curation.similarity import NearIndex, prompt_text, sketches
from stillhouse.dataset import Example
from stillhouse.errors import UsageError
from stillhouse.records import Record
from stillhouse.selectors.base import Opinion, Pool, opinion_of
from stillhouse.selectors.chain import selector_of
from stillhouse.similarity import Embedder
from stillhouse.similarity.tfidf import Latent, Tfidf, unit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABELLED, HELD_OUT, AGAIN = "labelled already", "held out: asked in valid or test", "asked again in the pool"
UNANSWERED = "the student did not answer"
LIKELIEST = 20
"""Tokens, or labels, whose probabilities a student is asked for: the most that the API allows."""
EMBEDDED = 256
"""Texts a request to an embedder."""

Opinions = Callable[[Sequence[Example]], Awaitable[list[Opinion | None]]]
"""Asks a student about examples; None where it did not answer."""


class Wanted(Record):
    """How texts are picked."""

    by: str
    """A selector, or several in a row: `margin+k_means`."""
    n: int = Field(default=100, ge=1)
    seed: int = 0
    near: float | None = Field(default=NEAR_LEAKS, gt=0, le=1)
    """Likeness from which a text says again what another one says. None: only equal ones do."""


class Chosen(Record):
    """A question that is worth a label."""

    id: str
    """Of its example."""
    source: str | None = None
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    score: float
    """What it is worth to the selector; comparable within one selection."""
    reason: str


class Selection(Record):
    """What was picked, and the account of what could not be."""

    by: str
    seed: int
    pool: int
    """Texts that could be picked."""
    left_out: dict[str, int]
    """Reason -> texts."""
    chosen: tuple[Chosen, ...]
    """The one most worth a label first."""


async def select(
    wanted: Wanted,
    pool: Sequence[Example],
    *,
    labelled: Sequence[Example] = (),
    held_out: Sequence[Example] = (),
    ask: Opinions | None = None,
    embedder: Embedder | None = None,
) -> Selection:
    """Up to `wanted.n` of `pool`, whose order does not matter: the same texts and seed give the same picks.

    `ask` is needed by selectors that look at a student, whose teacher's answers are the examples' own. `embedder`: None for
    TF-IDF. Raises UsageError where a student is needed and missing, or gives no log-probabilities where they are needed.
    """
    selector = selector_of(wanted.by)
    examples, left_out = candidates(pool, labelled, held_out, wanted.near)
    opinions: tuple[Opinion | None, ...] = ()
    if selector.needs & {"distributions", "answers"}:
        opinions = await _opinions(wanted.by, examples, ask, distributions="distributions" in selector.needs)
        left_out[UNANSWERED] = sum(opinion is None for opinion in opinions)
        examples = [each for each, opinion in zip(examples, opinions, strict=True) if opinion is not None]
        opinions = tuple(opinion for opinion in opinions if opinion is not None)
    vectors_ND = labelled_MD = None
    if "vectors" in selector.needs and examples:
        vectors_ND, labelled_MD = await _vectors(examples, labelled, embedder)
    answers = tuple(example.answer or None for example in examples)
    ids = tuple(example.id for example in examples)
    picks = selector.select(Pool(ids, wanted.seed, vectors_ND, labelled_MD, opinions, answers), wanted.n)
    return Selection(
        by=wanted.by,
        seed=wanted.seed,
        pool=len(examples),
        left_out=dict(+left_out),
        chosen=tuple(_chosen(examples[pick.place], pick.score, pick.reason) for pick in picks),
    )


def candidates(
    pool: Sequence[Example], labelled: Sequence[Example], held_out: Sequence[Example], near: float | None
) -> tuple[list[Example], Counter[str]]:
    """The examples of `pool` that may be picked, by id, and how many may not be for which reason."""
    left_out: Counter[str] = Counter()
    why = {example.group: LABELLED for example in labelled} | {example.group: HELD_OUT for example in held_out}
    fresh: list[Example] = []
    for example in sorted(pool, key=lambda example: example.id):
        if example.group in why:
            left_out[why[example.group]] += 1
        else:
            why[example.group] = AGAIN
            fresh.append(example)
    return (fresh, left_out) if near is None else _unlike(fresh, labelled, held_out, near, left_out)


def _unlike(
    fresh: Sequence[Example], labelled: Sequence[Example], held_out: Sequence[Example], near: float, left_out: Counter[str]
) -> tuple[list[Example], Counter[str]]:
    """Those that are nearly no other: what is held out says so first, then what is labelled, then the pool itself."""
    known = [*held_out, *labelled]
    drawn = sketches([prompt_text(example.messages) for example in [*known, *fresh]])
    reasons = [HELD_OUT] * len(held_out) + [LABELLED] * len(labelled)
    index = NearIndex(near)
    for key in range(len(known)):
        index.add(key, drawn[key])
    kept = []
    for key, example in enumerate(fresh, start=len(known)):
        like = next(index.near(drawn[key]), None)
        if like is not None:
            left_out[reasons[like[0]] if like[0] < len(known) else AGAIN] += 1
        else:
            kept.append(example)
            index.add(key, drawn[key])
    return kept, left_out


def asking(
    model: ChatModel,
    name: str,
    *,
    concurrency: int = 8,
    max_tokens: int = 256,
    seen: Mapping[str, Outcome] | None = None,
    keep: Callable[[Outcome], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Opinions:
    """Asks `model` by the id `name`: its likeliest answer, and what it was chosen from. `seen` and `keep` as in `apply`."""
    parameters = {"temperature": 0, "max_completion_tokens": max_tokens, "logprobs": True, "top_logprobs": LIKELIEST}

    async def ask(examples: Sequence[Example]) -> list[Opinion | None]:
        requests = [
            ChatRequest.build(name, each.messages, **parameters, **({"tools": each.tools} if each.tools else {}))
            for each in examples
        ]
        asks = [Ask.of(request) for request in requests]
        given: dict[str, Any] = {"concurrency": concurrency, "seen": seen, "keep": keep, "progress": progress}
        outcomes = await apply(model, list({each.key: each for each in asks}.values()), patience=Patience(), **given)
        of_key = {outcome.key: outcome for outcome in outcomes}
        responses = [of_key[each.key].response for each in asks]
        return [None if response is None else opinion_of(response) for response in responses]

    return ask


async def _opinions(
    by: str, examples: Sequence[Example], ask: Opinions | None, *, distributions: bool
) -> tuple[Opinion | None, ...]:
    if ask is None:
        raise UsageError(f"'{by}' looks at what a student answers: name one (--student MODEL), or choose by k_means or k_center.")
    opinions = tuple(await ask(examples))
    answered = [opinion for opinion in opinions if opinion is not None]
    if answered and distributions and not any(opinion.tokens for opinion in answered):
        raise UsageError(f"'{by}' needs log-probabilities, and the student gives none. Choose by disagreement or k_means.")
    return opinions


async def _vectors(
    examples: Sequence[Example], labelled: Sequence[Example], embedder: Embedder | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the examples, and of what is labelled."""
    import numpy as np

    # By their texts, so that the same ones give the same directions, whatever order they came in.
    texts = [*(prompt_text(each.messages) for each in examples), *sorted(prompt_text(each.messages) for each in labelled)]
    if embedder is None:
        rows_NV = Tfidf(texts).rows_NV
        vectors = Latent(rows_NV).vectors(rows_NV)
    else:
        parts = [await embedder.embed(texts[begin : begin + EMBEDDED]) for begin in range(0, len(texts), EMBEDDED)]
        vectors = unit(np.array([row for part in parts for row in part], dtype=float))
    return vectors[: len(examples)], vectors[len(examples) :]


def _chosen(example: Example, score: float, reason: str) -> Chosen:
    return Chosen(
        id=example.id, source=example.source, messages=example.messages, tools=example.tools, score=round(score, 6), reason=reason
    )
