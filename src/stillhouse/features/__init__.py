"""Comparisons of inner states by name: hidden states, attention, relations. Listing them imports none."""

from __future__ import annotations

from stillhouse.registry import Table

FEATURES = Table("feature", "features", {})
