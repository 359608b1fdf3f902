"""What a student learns from, besides the text: the needs a method declares and the capabilities a teacher declares.

A recipe that needs what its teacher cannot give fails before any compute is spent. The tensors themselves belong to
`training`; the cache on disk to `signals/` (a later chapter).
"""

from __future__ import annotations

from typing import Literal

Signal = Literal["text", "top_logprobs", "logits", "hidden_states"]
"""text: the answer as written. top_logprobs: the k likeliest tokens at each position. logits: a score for every token of the
vocabulary. hidden_states: the layers' outputs."""
