"""The bytes of a text's tokens are the bytes of the text, wherever characters are cut."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from transformers import PreTrainedTokenizerFast

from stillhouse.students.text_stream import HALF
from stillhouse.students.token_bytes import TokenBytes


def byte_level() -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def with_fallback() -> Any:
    vocabulary = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}, "a": 257, "b": 258, HALF: 259}
    tokenizer = Tokenizer(BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


BYTE_LEVEL, FALLBACK = byte_level(), with_fallback()


def bytes_of(tokenizer: Any, text: str) -> list[list[int] | None]:
    of = TokenBytes(tokenizer).of
    return [of(token, tokenizer.decode([token])) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


@given(st.text())
def test_byte_level_tokens_have_their_bytes(text: str) -> None:
    assert bytes_of(BYTE_LEVEL, text) == [[byte] for byte in text.encode()]


@given(st.text(alphabet="abcé退\U0001f600"))
def test_tokens_of_byte_fallback_have_their_bytes(text: str) -> None:
    found = bytes_of(FALLBACK, text)
    assert [byte for token in found for byte in token or ()] == list(text.encode())


def test_what_the_tokenizer_does_not_tell_is_none() -> None:
    tokenizer = Tokenizer(WordLevel({"a": 0, HALF: 1}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    assert bytes_of(plain, "a" + HALF) == [[97], None]
    assert bytes_of(FALLBACK, HALF) == [None]
