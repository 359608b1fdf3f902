"""Write the tokenizer of the built-in architectures, `src/stillhouse/assets/bytes`: a token a byte, so that it spells any text.

python scripts/byte_tokenizer.py
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

ASSETS = Path(__file__).parent.parent / "src" / "stillhouse" / "assets"
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|developer|>"]


def main() -> None:
    """The chat template is the demo models'."""
    letters = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={token: i for i, token in enumerate([*SPECIAL, *letters])}, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = Decoder()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", extra_special_tokens=SPECIAL[2:]
    )
    fast.chat_template = (ASSETS / "base" / "chat_template.jinja").read_text(encoding="utf-8")
    fast.save_pretrained(ASSETS / "bytes")


if __name__ == "__main__":
    main()
