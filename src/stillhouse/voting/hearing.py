"""A teacher's answers about one text -> its vote: which label, and how sure it is of it.

How sure: of several samples, the share that says so. Else, where log-probabilities came along, the probability of the answer as
it was written, exp(sum of its tokens' log-probabilities); and where the whole answer is one token (classifiers; labels that are
single tokens), also the probabilities of the labels that stand beside it. Else nobody knows, and a vote counts as sure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from typing import Any

from stillhouse.chat import ChatResponse
from stillhouse.reasoning.thinking import split_text
from stillhouse.voting.mapping import Mapping, said_in
from stillhouse.voting.votes import NO_VOTE, Vote

UNMAPPED = "its answer is none of the labels"
UNSURE_SAID = "it says that it cannot tell"


def vote_of(responses: Sequence[ChatResponse], mapping: Mapping, rules: Counter[str] | None = None) -> Vote:
    """The vote of the samples that came, one or several; `rules` counts by which rule each label was found."""
    heard = [_one(response, mapping, rules) for response in responses]
    if len(heard) == 1:
        return heard[0]
    counts = Counter(label for vote in heard if (label := vote.label) is not None)
    if not counts:
        return max(heard, key=lambda vote: sum(other.why == vote.why for other in heard), default=NO_VOTE)
    return Vote({label: count / len(heard) for label, count in counts.most_common()})


def _one(response: ChatResponse, mapping: Mapping, rules: Counter[str] | None) -> Vote:
    text = response.text
    found = mapping.label_of(text)
    if found is None:
        return Vote({}, UNSURE_SAID if mapping.is_unsure(text) else UNMAPPED)
    if rules is not None:
        rules[found.rule] += 1
    content = _logprobs(response)
    if not content:
        return Vote({found.label: 1.0})
    if len(content) == 1:
        return Vote(_beside(found.label, content[0], mapping))
    return Vote({found.label: min(1.0, math.exp(sum(map(_logprob, _of_the_answer(text, content)))))})


def _beside(label: str, token: MappingOf[str, Any], mapping: Mapping) -> dict[str, float]:
    """The answer's label first, then those of the other likely tokens that are labels; no more than 1 in all."""
    shares = {label: math.exp(_logprob(token))}
    for other in token.get("top_logprobs") or []:
        if other.get("token") == token.get("token"):
            continue
        found = mapping.label_of(str(other.get("token", "")))
        if found is not None and found.rule in ("exact", "normalised"):
            shares[found.label] = shares.get(found.label, 0.0) + math.exp(_logprob(other))
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()} if total > 1 else shares


def _of_the_answer(text: str, content: Sequence[MappingOf[str, Any]]) -> Sequence[MappingOf[str, Any]]:
    """The tokens of what was said, without those of the thought before it or of the JSON around it, where they can be found."""
    wanted = said_in(text) if said_in(text) in text else split_text(text).text
    begins = text.rfind(wanted)
    place, found = 0, []
    for entry in content:
        ends = place + len(str(entry.get("token", "")))
        if ends > begins and place < begins + len(wanted):
            found.append(entry)
        place = ends
    return found or content


def _logprob(entry: MappingOf[str, Any]) -> float:
    value = entry.get("logprob")
    return min(0.0, float(value)) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else 0.0


def _logprobs(response: ChatResponse) -> list[MappingOf[str, Any]]:
    choices = response.choices
    logprobs = choices[0].get("logprobs") if choices else None
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []
