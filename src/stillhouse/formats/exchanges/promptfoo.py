"""Promptfoo's results (`promptfoo eval -o results.json`): every prompt that was asked, the answer, and whether it passed.

What failed a test comes along, tagged `failed`: `completions list --tag passed` is what one would learn from.
"""

from __future__ import annotations

from typing import Any

from stillhouse.formats.exchanges.entries import chat_of, completion_of, seconds_of, strings_of


def row_of(entry: dict[str, Any]) -> dict[str, Any]:
    """A result as `{request, response}`. Raises ValueError."""
    prompt, response = entry.get("prompt"), entry.get("response")
    raw = prompt.get("raw") if isinstance(prompt, dict) else prompt
    answer = response.get("output") if isinstance(response, dict) else None
    if not raw or answer is None:
        raise ValueError("it has no prompt and answer: the provider failed, or the file holds tests, not results")
    provider = entry.get("provider")
    name = str((provider.get("id") if isinstance(provider, dict) else provider) or "unknown")
    upstream, _, model = name.rpartition(":")
    return {
        "created": seconds_of(entry.get("timestamp")),
        "model": model,
        "upstream": upstream.partition(":")[0] or None,
        "metadata": strings_of(entry.get("vars")),
        "tags": ["passed" if entry.get("success") else "failed"],
        "request": {"model": model, "messages": chat_of(raw, "prompt")},
        "response": completion_of(answer if isinstance(answer, str | dict) else str(answer), model, "response.output"),
    }
