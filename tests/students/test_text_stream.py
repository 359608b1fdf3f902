"""Text that comes token by token is the text of all tokens, without half characters, up to the stop string."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.students.text_stream import HALF, TextStream


def from_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer of bytes: the hardest for characters of several bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def parts_of(text: str, stops: Sequence[str] = ()) -> tuple[list[str], bool]:
    stream = TextStream(from_bytes, stops)
    parts = []
    for token in text.encode():
        parts.append(stream.push(token))
        if stream.stopped:
            break
    parts.append(stream.end())
    return parts, stream.stopped


@given(st.text())
def test_all_parts_are_the_whole_text(text: str) -> None:
    parts, _ = parts_of(text)
    assert "".join(parts) == text


@given(st.text(alphabet="aé退\U0001f600👩‍🚀"))
def test_no_part_holds_half_a_character(text: str) -> None:
    parts, _ = parts_of(text)
    assert HALF not in "".join(parts)


@given(st.text(alphabet="ab退"), st.lists(st.text(alphabet="ab退", min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_stop_string_cuts_where_it_first_ends(text: str, stops: list[str]) -> None:
    parts, stopped = parts_of(text, stops)
    ends = [end for end in range(len(text) + 1) if any(text[:end].endswith(stop) for stop in stops)]
    assert stopped == bool(ends)
    if ends:
        begun = text[: ends[0]]
        assert "".join(parts) == begun[: min(begun.find(stop) for stop in stops if stop in begun)]
    else:
        assert "".join(parts) == text


@given(st.text(alphabet="abc"), st.text(alphabet="ab", min_size=2, max_size=4))
def test_what_could_become_a_stop_string_is_held_back(text: str, stop: str) -> None:
    stream = TextStream(from_bytes, [stop])
    said = ""
    for token in text.encode():
        said += stream.push(token)
        assert stop not in said
        if stream.stopped:
            return
    assert said + stream.end() == text


def test_bytes_that_never_become_a_character_are_written_at_the_end() -> None:
    stream = TextStream(from_bytes)
    assert stream.push(0xE9) == ""
    assert stream.end() == HALF


def test_a_tokenizer_that_drops_the_first_space_loses_no_space() -> None:
    words = ["", " hello", " there", " you"]

    def decode(tokens: Sequence[int]) -> str:
        return "".join(words[token] for token in tokens).removeprefix(" ")

    stream = TextStream(decode)
    assert "".join([stream.push(1), stream.push(2), stream.push(3), stream.end()]) == "hello there you"
