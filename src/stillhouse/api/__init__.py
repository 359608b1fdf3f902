"""`/v1` as the OpenAI SDK speaks it, one file a resource; `/api` for what OpenAI has not; `/healthz` and `/readyz`.

`routes` is the whole table: path, method, handler, policy.
"""

from __future__ import annotations
