"""Selector `random`: texts drawn by chance, each as likely as the other. What every other selector has to be better than."""

from __future__ import annotations

import hashlib

from stillhouse.selectors.base import Need, Pick, Pool


class Random:
    """A number from the hash of seed and id, so a text keeps its place in the line whatever else is in the pool."""

    needs: frozenset[Need] = frozenset()

    def select(self, pool: Pool, n: int) -> list[Pick]:
        picks = [Pick(place, _number(f"{pool.seed} {each}"), "drawn by chance") for place, each in enumerate(pool.ids)]
        return sorted(picks, key=lambda pick: (-pick.score, pick.place))[:n]


def _number(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
