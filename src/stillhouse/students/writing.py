"""What students that write have in common, decoders and encoder-decoders: a network over tokens, and its tokenizer."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from stillhouse.students.adapting import parameter_count, save_network
from stillhouse.students.folders import tokenizer_hash


class WritingStudent:
    """The network and the tokenizer, and what can be read off them. How a chat becomes tokens is each kind's own."""

    network: Any
    """A transformers PreTrainedModel."""
    tokenizer: Any
    """A transformers tokenizer with an end-of-sequence token."""

    def save(self, folder: Path) -> None:
        """Weights as safetensors (adapters merged), configuration, tokenizer and, if there is one, its chat template."""
        save_network(self.network, folder)
        self.tokenizer.save_pretrained(folder)

    @property
    def parameters(self) -> int:
        """Numbers, embeddings included; tied ones count once, adapters not at all, because they end up in the weights."""
        return parameter_count(self.network)

    @property
    def max_positions(self) -> int | None:
        """Longest sequence the network was shaped for, in tokens. None: positions are relative (T5)."""
        positions = getattr(self.network.config, "max_position_embeddings", None)
        return int(positions) if positions else None

    @cached_property
    def vocabulary_size(self) -> int:
        """V: ids that are tokens. The table may have more rows, as padding: scores that nothing ever means."""
        highest = max(map(int, self.tokenizer.get_vocab().values()))
        return min(int(self.network.config.vocab_size), highest + 1)

    @property
    def row_labels(self) -> None:
        """Its scores are of tokens."""
        return None

    def tokenizer_hash(self) -> str:
        """Equal for tokenizers that turn every text into the same ids (padding and truncation settings do not count)."""
        return tokenizer_hash(self.tokenizer)
