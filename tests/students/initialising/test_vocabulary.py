"""A pruned tokenizer: the training texts become the same tokens, and any other text can still be spelled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from stillhouse.errors import RecipeError
from stillhouse.students.folders import load_tokenizer
from stillhouse.students.initialising.vocabulary import pruned
from tests.students.tiny import write_tokenizer
from tests.students.tiny_encoders import write_wordpieces

TEXTS = ["the red cat sat", "blueish apples", "seven red cats", "the apple"]
OTHERS = ["greenberry dog", "zebra 99", "a cat not a dog?"]


def byte_level(folder: Path) -> Path:
    """A byte-level BPE tokenizer as GPT-2's, trained on a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<end>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, *OTHERS] * 5, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    return folder


def with_suffixes(folder: Path) -> Path:
    """A BPE tokenizer that marks where a word ends, as GPT-1's."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=200, special_tokens=["[UNK]"], end_of_word_suffix="</w>", initial_alphabet=list("zbr9"), show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS, *OTHERS] * 5, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("write", [write_wordpieces, byte_level, with_suffixes])
def test_the_texts_become_the_same_tokens_and_others_are_spelled(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    whole = load_tokenizer(write(tmp_path / "whole"))
    small, kept = pruned(whole, whole(TEXTS)["input_ids"], "task")
    assert len(small) == len(kept) < len(whole)
    small.save_pretrained(tmp_path / "small")
    small = load_tokenizer(tmp_path / "small")
    for text in TEXTS:
        assert [kept[token] for token in small(text)["input_ids"]] == whole(text)["input_ids"]
    for text in OTHERS:
        assert spelled(small, text) == spelled(whole, text)


def spelled(tokenizer: Any, text: str) -> str:
    """What the tokens say together. An unknown one would say `[UNK]`."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return str(tokenizer.decode(ids)).replace("##", "").replace(" ", "")


def test_a_number_is_how_many_are_kept(tmp_path: Path) -> None:
    whole = load_tokenizer(write_wordpieces(tmp_path))
    small, kept = pruned(whole, whole(TEXTS)["input_ids"], 84)
    assert len(small) == len(kept) == 84
    with pytest.raises(RecipeError, match="spell any text"):
        pruned(whole, [], 10)


def test_another_kind_of_tokenizer_is_refused(tmp_path: Path) -> None:
    whole = load_tokenizer(write_tokenizer(tmp_path))
    with pytest.raises(RecipeError, match="WordLevel"):
        pruned(whole, [], "task")
