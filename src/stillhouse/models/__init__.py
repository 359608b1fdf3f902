"""Ways to answer a chat request: the table of kinds. One ChatModel a file, its parts beside it; no ChatModel imports another."""

from __future__ import annotations

from stillhouse.registry import Table

MODELS = Table(
    "model",
    "models",
    {
        "fake": "stillhouse.models.fake:FakeModel",
        "openai": "stillhouse.models.openai:OpenAIModel",
        "student": "stillhouse.models.student:StudentModel",
    },
)
