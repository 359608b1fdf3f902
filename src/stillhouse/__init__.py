"""Stillhouse: capture a large model's traffic, train a small one on it, put it in the large one's place."""

from __future__ import annotations

__version__ = "0.1.0"
