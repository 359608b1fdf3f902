"""Every metric against a library that knows nothing of ours, on a hundred English and a hundred Chinese pairs."""

from __future__ import annotations

import difflib
import math
from typing import Any

import pytest
from nltk.stem.porter import PorterStemmer
from nltk.translate.bleu_score import sentence_bleu
from nltk.translate.gleu_score import sentence_gleu
from nltk.translate.meteor_score import single_meteor_score
from rouge_score.rouge_scorer import RougeScorer

from stillhouse.similarity import METRICS, Ngrams, similarity
from tests.similarity.pairs import PAIRS, cut, spelled


class NoSynonyms:
    """WordNet without an entry."""

    def synsets(self, word: str) -> list[Any]:
        return []


async def score(metric: str, candidate: str, reference: str) -> float:
    return (await similarity(metric, candidate, reference, Ngrams())).score


def test_the_pairs_are_neither_equal_nor_strangers() -> None:
    assert len(PAIRS) == 200
    likeness = [difflib.SequenceMatcher(None, candidate, reference).ratio() for candidate, reference, _ in PAIRS]
    assert sum(ratio < 0.9 for ratio in likeness) > 100
    assert sum(ratio > 0.6 for ratio in likeness) > 50


@pytest.mark.parametrize("metric", ["rouge_1", "rouge_2", "rouge_3", "rouge_4", "rouge_5", "rouge_l"])
async def test_rouge_is_rouge_score_on_segmented_text(metric: str) -> None:
    name = metric.replace("_", "").replace("rougel", "rougeL")
    scorer = RougeScorer([name], use_stemmer=False)
    for candidate, reference, _ in PAIRS:
        expected = scorer.score(spelled(reference), spelled(candidate))[name].fmeasure
        assert await score(metric, candidate, reference) == pytest.approx(expected, abs=1e-12)


async def test_gleu_is_nltks() -> None:
    for candidate, reference, tokens in PAIRS:
        assert await score("gleu", candidate, reference) == pytest.approx(sentence_gleu([tokens], cut(candidate)), abs=1e-12)


async def test_meteor_is_nltks_without_synonyms() -> None:
    stemmer = PorterStemmer(mode="ORIGINAL_ALGORITHM")
    for candidate, reference, tokens in PAIRS:
        expected = single_meteor_score(tokens, cut(candidate), stemmer=stemmer, wordnet=NoSynonyms())
        assert await score("meteor", candidate, reference) == pytest.approx(expected, abs=1e-12)


async def test_bleu_is_nltks_with_the_same_smoothing() -> None:
    """sacrebleu's `exp` smoothing: the k-th order without a match counts as 1 / 2^k matches, of those it could have had."""

    def smoothed(precisions: list[Any], **_: Any) -> list[float]:
        found, missing = [], 0
        for fraction in precisions:
            missing += fraction.numerator == 0
            found.append((fraction.numerator or 1 / 2**missing) / fraction.denominator)
        return found

    for candidate, reference, tokens in PAIRS:
        expected = sentence_bleu([tokens], cut(candidate), smoothing_function=smoothed)
        matches = set(cut(candidate)) & set(tokens)
        assert await score("bleu", candidate, reference) == pytest.approx(expected if matches else 0.0, abs=1e-9)


async def test_fuzzy_match_is_the_longest_common_subsequence_of_both() -> None:
    for candidate, reference, _ in PAIRS:
        row = [0] * (len(reference) + 1)
        for mine in candidate:
            before = 0
            for place, theirs in enumerate(reference, start=1):
                before, row[place] = row[place], before + 1 if mine == theirs else max(row[place], row[place - 1])
        expected = 2 * row[-1] / (len(candidate) + len(reference))
        assert await score("fuzzy_match", candidate, reference) == pytest.approx(expected, abs=1e-9)


async def test_cosine_is_that_of_the_counted_runs() -> None:
    def runs(text: str) -> dict[str, int]:
        found = [text[i : i + n] for n in (1, 2, 3) for i in range(len(text) - n + 1)]
        return {run: found.count(run) for run in found}

    for candidate, reference, _ in PAIRS[::10]:
        mine, theirs = runs(candidate), runs(reference)
        dot = sum(math.sqrt(count * theirs.get(run, 0)) for run, count in mine.items())
        expected = dot / math.sqrt(sum(mine.values()) * sum(theirs.values()))
        assert await score("cosine", candidate, reference) == pytest.approx(expected, abs=0.03), "up to collisions of the hash"


SENTENCE = "客户要求退款，但订单已经发货，请按退货流程处理。"


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE,
        "Please follow the returns process.",
        "返品の手続きをしてください。",
        "กรุณาคืนสินค้า",
        "주문 취소 부탁드립니다 지금 바로요",
        "GPT-4 支持 function calling。",
    ],
)
@pytest.mark.parametrize("metric", METRICS)
async def test_a_text_is_like_itself_in_every_script(metric: str, text: str) -> None:
    assert await score(metric, text, text) > 0.98


@pytest.mark.parametrize("metric", METRICS)
async def test_a_paraphrase_is_more_like_than_something_else(metric: str) -> None:
    paraphrase, other = "客户要求退款，但是订单已发货，请按退货流程处理。", "今天北京的天气很好，适合出去散步。"
    assert await score(metric, paraphrase, SENTENCE) > 0.3
    assert await score(metric, other, SENTENCE) < 0.3


@pytest.mark.parametrize("metric", METRICS)
async def test_texts_of_nothing(metric: str) -> None:
    for text in ("", "。", "!!!", " "):
        assert await score(metric, text, text) == pytest.approx(1.0), repr(text)
        assert await score(metric, text, SENTENCE) < 0.2
        assert await score(metric, SENTENCE, text) < 0.2


async def test_every_score_names_its_rule() -> None:
    rules = {metric: (await similarity(metric, SENTENCE, SENTENCE, Ngrams())).rule for metric in METRICS}
    assert rules["cosine"] == "cosine of builtin:ngrams"
    assert "without synonyms" in rules["meteor"]
    assert "tok:zh" in rules["bleu"]
    assert len(set(rules.values())) == len(METRICS)
