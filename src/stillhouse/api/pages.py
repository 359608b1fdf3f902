"""Pages of a list, as the SDK's cursor pages read them: `data`, `has_more`, and the ids that the next page goes on after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from stillhouse.document import DocumentQuery
from stillhouse.errors import InvalidParameterError

MAX_PAGE = 100


class PageQuery:
    """What a client asks of a list: how many, in which order, after which, and with which metadata."""

    def __init__(
        self, query: dict[str, str], *, limit: int = 20, most: int = MAX_PAGE, order: Literal["asc", "desc"] = "asc"
    ) -> None:
        """`limit` and `order` hold where the client says nothing. Raises InvalidParameterError."""
        self.limit = _limit(query.get("limit"), limit, most)
        self.order = _order(query.get("order"), order)
        self.after = query.get("after")
        self.metadata = {
            name[9:-1]: value for name, value in query.items() if name.startswith("metadata[") and name.endswith("]")
        }

    def documents(self, kind: str, *, parent: str | None = None, where: dict[str, str] | None = None) -> DocumentQuery:
        """The same page, asked of the store's documents."""
        return DocumentQuery(
            kind=kind,
            parent=parent,
            where=where or {},
            metadata=self.metadata,
            after=self.after,
            limit=self.limit,
            order=self.order,
        )


def list_body(items: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A page, in OpenAI's shape; every item has an `id`."""
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": list(items), "first_id": first, "last_id": last, "has_more": has_more}


def page_among(items: Sequence[dict[str, Any]], page: PageQuery) -> dict[str, Any]:
    """The page of a list that is at hand whole, in its ascending order. An unknown `after` begins at the beginning."""
    ordered = list(items) if page.order == "asc" else list(reversed(items))
    ids = [item["id"] for item in ordered]
    begin = ids.index(page.after) + 1 if page.after in ids else 0
    rest = ordered[begin:]
    return list_body(rest[: page.limit], has_more=len(rest) > page.limit)


def _limit(value: str | None, default: int, most: int) -> int:
    if value is None:
        return default
    if not value.isdecimal() or not value.isascii() or len(value) > 9 or not 1 <= int(value) <= most:
        raise InvalidParameterError(f"'limit' must be an integer from 1 to {most}, got '{value[:40]}'.", "limit")
    return int(value)


def _order(value: str | None, default: Literal["asc", "desc"]) -> Literal["asc", "desc"]:
    if value is None:
        return default
    if value not in ("asc", "desc"):
        raise InvalidParameterError(f"'order' must be 'asc' or 'desc', got '{value[:40]}'.", "order")
    return "asc" if value == "asc" else "desc"
