"""What an eval is and what a run of it reads, as OpenAI's Evals API writes them; how graders are configured is their own.

Field names and meanings are those of the `openai` SDK's types (`openai/types/evals`). What a client sent is kept as it came;
these records check it and give it names.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from stillhouse.records import Record

Metadata = dict[str, str] | None


class CustomConfig(Record):
    """Rows of the user's own shape."""

    type: Literal["custom"]
    item_schema: dict[str, Any]
    """JSON schema of every item."""
    include_sample_schema: bool = False
    """Whether runs bring a sample for each item, from a model or from the file."""


class LogsConfig(Record):
    """Rows are what passed through the gateway."""

    type: Literal["logs", "stored_completions"]
    metadata: Metadata = None
    """What a stored exchange must carry, in every run."""


DataSourceConfig = Annotated[CustomConfig | LogsConfig, Field(discriminator="type")]


class ContentRow(Record):
    item: dict[str, Any]
    sample: dict[str, Any] | None = None


class CompletionRow(ContentRow):
    """What was stored, as a row."""

    completion: str
    """The id of the exchange."""
    deleted: bool = False
    """It is not there any more: the row has kept its place and nothing else."""


class FileContent(Record):
    type: Literal["file_content"]
    content: list[ContentRow] = Field(min_length=1)


class FileId(Record):
    type: Literal["file_id"]
    id: str


class StoredCompletions(Record):
    type: Literal["stored_completions"]
    metadata: Metadata = None
    model: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    limit: int | None = Field(default=None, ge=1)


class StoredResponses(Record):
    """All that are set must hold; of `tools` and `users` one."""

    type: Literal["responses"]
    metadata: Metadata = None
    model: str | None = None
    instructions_search: str | None = None
    created_after: int | None = None
    created_before: int | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[str] | None = None
    users: list[str] | None = None


class TemplateMessage(Record):
    """A message whose content has variables: a text, a part, or parts."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | dict[str, Any] | list[str | dict[str, Any]]
    type: Literal["message"] | None = None
    phase: str | None = None


class MessagesTemplate(Record):
    type: Literal["template"]
    template: list[TemplateMessage] = Field(min_length=1)


class ItemReference(Record):
    type: Literal["item_reference"]
    item_reference: str = Field(pattern=r"^item(\.[\w-]+|\[\d+\])+$")
    """Where an item holds its messages, e.g. `item.input`."""


InputMessages = Annotated[MessagesTemplate | ItemReference, Field(discriminator="type")]


class _Sampling(Record):
    max_completion_tokens: int | None = Field(default=None, ge=1)
    reasoning_effort: str | None = None
    seed: int | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)


class CompletionsSampling(_Sampling):
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """As `chat.completions.create` takes them; those that were not set are not sent."""
        return self.model_dump(mode="json", exclude_none=True)


class ResponsesText(Record):
    format: dict[str, Any] | None = None


class ResponsesSampling(_Sampling):
    text: ResponsesText | None = None
    tools: list[dict[str, Any]] | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """As `chat.completions.create` takes them: a response's format and function tools lie one level deeper there."""
        plain = self.model_dump(mode="json", exclude_none=True, exclude={"text", "tools"})
        wanted = self.text.format if self.text is not None else None
        if wanted is not None:
            rest = {key: value for key, value in wanted.items() if key != "type"}
            plain["response_format"] = {"type": wanted.get("type"), **({"json_schema": rest} if rest else {})}
        if self.tools:
            plain["tools"] = [_chat_tool(tool) for tool in self.tools]
        return plain


class JsonlSource(Record):
    """Rows that are judged as they are: no model is asked."""

    type: Literal["jsonl"]
    source: Annotated[FileContent | FileId, Field(discriminator="type")]


class CompletionsSource(Record):
    """A model is asked, or what was stored is judged where none is named."""

    type: Literal["completions"]
    source: Annotated[FileContent | FileId | StoredCompletions, Field(discriminator="type")]
    input_messages: InputMessages | None = None
    model: str | None = None
    sampling_params: CompletionsSampling | None = None


class ResponsesSource(Record):
    """The same in the words of the Responses API."""

    type: Literal["responses"]
    source: Annotated[FileContent | FileId | StoredResponses, Field(discriminator="type")]
    input_messages: InputMessages | None = None
    model: str | None = None
    sampling_params: ResponsesSampling | None = None


DataSource = Annotated[JsonlSource | CompletionsSource | ResponsesSource, Field(discriminator="type")]


def _chat_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function" or "function" in tool:
        return tool
    return {"type": "function", "function": {key: value for key, value in tool.items() if key != "type"}}
