"""The demo's tokenizer: words of the templates are one token each, everything else is spelt letter by letter.

A model that is to name a word's last letter must see letters, which subword tokenizers hide; a model that is to be trained in
two minutes cannot afford a token a letter. So template words are whole tokens, with their leading space, and names, being in no
list, are spelt. Decoding joins the tokens with nothing between: any printable ASCII text comes back as it was.
"""

from __future__ import annotations

import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, END = "<|pad|>", "<|unknown|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHARACTERS = ("\n", *map(chr, range(32, 127)))
WITHIN = """
Does Is That The Where Who after again and answer are ball bed begin begins black blue book box by chair coin comes
cup do does each ends even flip flips floor gives green has have heads in is it join keeps key lamp last leaves letter
letters lies makes many name names no not odd of on over puts red spell step still table tails the them there this
through turns up which white with yes
"""
"""Kept whole after a space, the space included."""
FIRST = """
Count First Go How It Join Number Repeat Say Spell Start Step Take The What Which With
"""
"""Kept whole at the start of a text."""
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "<|{{ message.role }}|>"
    "{%- if message.content is string -%}{{ message.content }}"
    "{%- else -%}{%- for part in message.content -%}{{ part.text }}{%- endfor -%}{%- endif -%}"
    "{%- if message.role == 'assistant' -%}<|end|>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


def build(longest: int = 512) -> PreTrainedTokenizerFast:
    """A fast tokenizer whose vocabulary is the special tokens, the printable ASCII characters and the words above."""
    words = [*(f" {word}" for word in WITHIN.split()), *FIRST.split()]
    kept = sorted(words, key=lambda word: (-len(word), word))
    vocabulary = {token: i for i, token in enumerate([PAD, UNKNOWN, END, *ROLES, *CHARACTERS, *sorted(kept)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    # A space before a word already ends the word before it; without one, the word must not be the tail of another.
    whole = "|".join(f"{re.escape(w)}" if w.startswith(" ") else rf"(?<![A-Za-z]){w}" for w in kept)
    pattern = Regex(rf"(?:{whole})(?![A-Za-z])|[\s\S]")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        model_max_length=longest,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """As transformers' `from_pretrained` wants it."""
    tokenizer.save_pretrained(str(folder))
