"""Text as the search index sees it, over whatever people write."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.stores.search_text import index_words, query_phrases

any_text = st.text(st.characters(exclude_categories=[]), max_size=60)
han = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1, max_size=12)


def occurs(phrase: list[str], words: list[str]) -> bool:
    return any(words[i : i + len(phrase)] == phrase for i in range(len(words)))


def test_words_are_lower_case_and_plain() -> None:
    assert index_words("Hello, WORLD_2! ＦＵＬＬ") == ["hello", "world", "2", "full"]
    assert query_phrases("Straße") == [["strasse"]]


def test_a_run_without_spaces_is_cut_into_characters_and_pairs() -> None:
    words = index_words("退货a")
    assert len(words) == 4
    assert query_phrases("退货") == [[words[2]]]
    assert query_phrases("退") == [[words[0]]]


@settings(deadline=None)
@given(any_text)
def test_every_word_is_ascii_letters_and_digits(text: str) -> None:
    assert all(word.isascii() and word.isalnum() for word in index_words(text))
    assert all(word.isascii() and word.isalnum() for phrase in query_phrases(text) for word in phrase)


@settings(deadline=None)
@given(any_text)
def test_a_text_is_found_by_itself(text: str) -> None:
    words = index_words(text)
    assert all(occurs(phrase, words) for phrase in query_phrases(text))


@settings(deadline=None)
@given(han, st.data())
def test_a_chinese_text_is_found_by_every_part_of_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    part = text[start : data.draw(st.integers(start + 1, len(text)))]
    words = index_words(f"before{text}after")
    assert all(occurs(phrase, words) for phrase in query_phrases(part))
