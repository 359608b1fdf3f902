"""From what a teacher says to a label: by the first rule that finds one, and never to one that is not there."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.chat import ChatResponse
from stillhouse.errors import UsageError
from stillhouse.voting.asking import Classification
from stillhouse.voting.hearing import UNMAPPED, UNSURE_SAID, vote_of
from stillhouse.voting.label_names import LabelNames, folded, read_labels
from stillhouse.voting.mapping import Mapped, Mapping

NAMES = ("card_arrival", "card_linking", "card", "Top up", "退款", "退款失败", "pending cash withdrawal")
LABELS = LabelNames(names=NAMES)
MAPPING = Mapping(LABELS)


@pytest.mark.parametrize(
    ("answer", "label", "rule"),
    [
        ("card_arrival", "card_arrival", "exact"),
        ("  card\n", "card", "exact"),
        ('"Card Arrival."', "card_arrival", "normalised"),
        ("**TOP-UP**", "Top up", "normalised"),
        ("pend", "pending cash withdrawal", "prefix"),
        ("card_a", "card_arrival", "prefix"),
        ("The label is: card linking, I think", "card_linking", "contained"),
        ("I would say 退款失败 。", "退款失败", "contained"),
        ('{"label": "card"}', "card", "exact"),
        ('```json\n{"label": "top up"}\n```', "Top up", "normalised"),
        ("<think>card_arrival or card?</think>card_linking", "card_linking", "exact"),
        ("card_arrival or card_linking", None, None),
        ("ca", None, None),
        ("cards", None, None),
        ("", None, None),
        ('{"label": 3}', None, None),
        ("none of them", None, None),
    ],
)
def test_the_rules(answer: str, label: str | None, rule: str | None) -> None:
    found = MAPPING.label_of(answer)
    assert (found.label, found.rule) == (label, rule) if found is not None else label is None


@given(answer=st.text(max_size=60) | st.sampled_from(NAMES).flatmap(lambda name: st.text(max_size=8).map(lambda t: t + name)))
def test_no_answer_gives_what_is_no_label(answer: str) -> None:
    found = MAPPING.label_of(answer)
    assert found is None or found.label in NAMES


@given(
    label=st.sampled_from(NAMES),
    before=st.sampled_from(["", " ", "\n", '"', "**", "("]),
    after=st.sampled_from(["", " ", ".", '"', "**", "!"]),
    shout=st.booleans(),
)
def test_case_space_and_signs_around_it_do_not_matter(label: str, before: str, after: str, shout: bool) -> None:
    said = before + (label.upper().replace("_", "  ") if shout else label) + after
    found = MAPPING.label_of(said)
    assert found is not None and found.label == label and found.rule in ("exact", "normalised")
    assert MAPPING.label_of(json.dumps({"label": said})) == found


@given(names=st.lists(st.text("abc_ -", min_size=1, max_size=5), min_size=2, max_size=6))
def test_labels_that_an_answer_could_not_tell_apart_are_refused(names: list[str]) -> None:
    try:
        labels = LabelNames(names=tuple(names))
    except ValueError:
        assert len({folded(name) for name in names}) < len(names) or any(not folded(n) or n != n.strip() for n in names)
    else:
        assert all(Mapping(labels).label_of(name) == Mapped(name, "exact") for name in names)


def test_labels_are_read_from_a_file_or_a_line(tmp_path: Any) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("refund\tthe customer wants money back\n\nother\n", encoding="utf-8")
    labels = read_labels(str(path))
    assert labels.names == ("refund", "other")
    said = Classification(labels=labels, may_abstain=True)
    assert "- refund: the customer wants money back\n- other" in said.system
    assert said.response_format["json_schema"]["schema"]["properties"]["label"]["enum"] == ["refund", "other", "unsure"]
    assert read_labels("yes, no").names == ("yes", "no")
    for wrong in ("absent.txt", "one,", "yes,YES"):
        with pytest.raises(UsageError):
            read_labels(wrong)


def response(text: str, *logprobs: tuple[str, float], top: dict[str, float] | None = None) -> ChatResponse:
    content = [{"token": token, "logprob": value, "top_logprobs": []} for token, value in logprobs]
    if top is not None:
        content[0]["top_logprobs"] = [{"token": token, "logprob": value} for token, value in top.items()]
    choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": content} if content else None}
    return ChatResponse.build({"choices": [choice]})


def test_how_sure_a_vote_is_comes_from_log_probabilities_or_from_samples() -> None:
    rules: Counter[str] = Counter()
    assert vote_of([response("card")], MAPPING, rules).shares == {"card": 1.0}
    assert vote_of([response("Card!", ("Ca", -0.5), ("rd", -0.25), ("!", 0.0))], MAPPING, rules).shares == {
        "card": pytest.approx(0.4723665527)
    }
    beside = response("card", ("card", -0.5), top={"card": -0.5, "top up": -1.5, "else": -2.0})
    assert vote_of([beside], MAPPING, rules).shares == pytest.approx({"card": 0.60653066, "Top up": 0.22313016})
    four = [response("card"), response("card"), response("top up"), response("nothing of it")]
    assert vote_of(four, MAPPING, rules).shares == {"card": 0.5, "Top up": 0.25}
    assert rules == {"exact": 4, "normalised": 2}


def test_what_stands_around_the_label_does_not_make_it_less_sure() -> None:
    tokens = [("<think>", -3.0), ("hm", -3.0), ("</think>", -3.0), ('{"label": "', -2.0), ("card", -0.1), ('"}', -2.0)]
    said = response("".join(token for token, _ in tokens), *tokens)
    assert vote_of([said], MAPPING).shares == {"card": pytest.approx(0.904837418)}


def test_no_label_has_its_reason() -> None:
    assert vote_of([response("no idea")], MAPPING).why == UNMAPPED
    assert vote_of([response("Unsure.")], MAPPING).why == UNSURE_SAID
    assert vote_of([response("unsure"), response("x"), response("y")], MAPPING).why == UNMAPPED
    assert vote_of([], MAPPING).shares == {}
