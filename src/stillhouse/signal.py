"""What a student learns from, besides the text: the needs a method declares and the capabilities a teacher declares.

A recipe that needs what its teacher cannot give fails before any compute is spent. The tensors themselves belong to
`training`; the cache on disk to `signals/`.
"""

from __future__ import annotations

from typing import Literal

Signal = Literal["text", "samples", "top_logprobs", "logits", "states"]
"""text: the answer as written. samples: tokens drawn from the distribution. top_logprobs: the k likeliest tokens of each
position. logits: a score for every token of the vocabulary. states: the layers' outputs and attention."""

GIVES: dict[str, frozenset[Signal]] = {
    "live": frozenset({"text", "samples", "top_logprobs", "logits", "states"}),
    "hidden": frozenset({"text", "samples", "top_logprobs", "logits"}),
    "logits": frozenset({"text", "samples", "top_logprobs", "logits"}),
    "top_k": frozenset({"text", "top_logprobs"}),
    "sampled": frozenset({"text", "samples"}),
    "api": frozenset({"text", "top_logprobs"}),
}
"""Where the signal comes from, or the tier of the cache that keeps it -> what it can give.

Whoever has all scores can also give the k likeliest, or draw from them.
"""
