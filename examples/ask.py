"""What an application does: ask through the official SDK, and let the gateway keep the answers.

python examples/ask.py BASE_URL MODEL COUNT
"""

from __future__ import annotations

import sys

from openai import OpenAI

from stillhouse.tasks.coin_flip import coin_flip


def main(base_url: str, model: str, count: int) -> None:
    client = OpenAI(base_url=base_url, api_key="unused on this machine")
    for question in coin_flip(count, seed=0, pool="learn"):
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question.text}],
            store=True,
            metadata={"task": question.task, "reference": question.answer},
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
