"""The smallest decoder there is: letters as tokens, two layers of 32."""

from __future__ import annotations

import string
from pathlib import Path

from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import PreTrainedTokenizerFast

from stillhouse.recipe import Student

TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'][0] + '>' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<a>' }}{% endif %}"
)
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]


def write_tokenizer(folder: Path, *, template: str | None = TEMPLATE, letters: str = string.printable) -> Path:
    """A tokenizer of one token per character, with a chat template, in `folder`."""
    tokenizer = Tokenizer(WordLevel({token: i for i, token in enumerate([*SPECIAL, *letters])}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    return folder


def tiny_spec(tokenizer: Path, **changes: object) -> Student:
    """A Llama of two layers of 32."""
    config = {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        **changes,
    }
    return Student(kind="causal", config=config, tokenizer=str(tokenizer))
