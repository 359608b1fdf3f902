"""An account of OpenAI's, or of any server that speaks its API, as iterators of plain objects, page by page by the official SDK.

Nothing is validated on the way: what an account holds is kept as it is, fields that the SDK's types do not know included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from stillhouse.errors import MissingExtraError, UpstreamError
from stillhouse.files import Draft

if TYPE_CHECKING:
    from openai import OpenAI

Body = dict[str, Any]
PAGE = 100
RETRIES = 8
"""By the SDK, with its waits: a rescue that stops at the first 429 would be none."""


class Account:
    """What is read; nothing is ever written there."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    @classmethod
    def open(cls, base_url: str | None, api_key: str | None) -> Account:
        """None: what the SDK takes from the environment. Raises MissingExtraError, UpstreamError."""
        try:
            import openai
        except ModuleNotFoundError as exc:
            raise MissingExtraError("Importing from an account", "openai", "rescue") from exc
        try:
            return cls(openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=RETRIES))
        except openai.OpenAIError as exc:
            raise UpstreamError(f"{exc}") from exc

    def completions(self) -> Iterator[Body]:
        return self._each(lambda: self._client.chat.completions.list(limit=PAGE, order="asc"))

    def messages(self, completion_id: str) -> Iterator[Body]:
        return self._each(lambda: self._client.chat.completions.messages.list(completion_id, limit=PAGE, order="asc"))

    def files(self) -> Iterator[Body]:
        return self._each(lambda: self._client.files.list(limit=1000, order="asc"))

    def download(self, file_id: str, into: Draft) -> None:
        """A file's bytes. Raises UpstreamError."""
        with asking(), self._client.files.with_streaming_response.content(file_id) as response:
            for part in response.iter_bytes():
                into.write(part)

    def evals(self) -> Iterator[Body]:
        return self._each(lambda: self._client.evals.list(limit=PAGE, order="asc"))

    def runs(self, eval_id: str) -> Iterator[Body]:
        return self._each(lambda: self._client.evals.runs.list(eval_id, limit=PAGE, order="asc"))

    def output_items(self, eval_id: str, run_id: str) -> Iterator[Body]:
        items = self._client.evals.runs.output_items
        return self._each(lambda: items.list(run_id, eval_id=eval_id, limit=PAGE, order="asc"))

    def jobs(self) -> Iterator[Body]:
        return self._each(lambda: self._client.fine_tuning.jobs.list(limit=PAGE))

    def events(self, job_id: str) -> Iterator[Body]:
        """Newest first, as the API has them."""
        return self._each(lambda: self._client.fine_tuning.jobs.list_events(job_id, limit=PAGE))

    def checkpoints(self, job_id: str) -> Iterator[Body]:
        return self._each(lambda: self._client.fine_tuning.jobs.checkpoints.list(job_id, limit=PAGE))

    def _each(self, pages: Callable[[], Any]) -> Iterator[Body]:
        """Every item of every page. Raises UpstreamError."""
        with asking():
            for item in pages():
                yield item.to_dict(mode="json")


class asking:
    """The SDK's errors as ours."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        import openai

        if isinstance(error, openai.OpenAIError):
            status = getattr(error, "status_code", None)
            raise UpstreamError(f"The account answered {status}: {error}" if status else f"{error}") from error
