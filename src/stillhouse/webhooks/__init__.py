"""Webhooks: events go to an outbox on disk before anybody is called, and from there to their endpoints until they are taken.

At least once, and signed; a receiver tells a repetition by the event's id. What an endpoint is stands in `stillhouse.webhook`.
"""

from __future__ import annotations

from stillhouse.webhooks.outbox import Outbox
from stillhouse.webhooks.posting import Poster

__all__ = ["Outbox", "Poster"]
