"""Rationales: how many are right, which are kept and why the others are not, which of many are taken, how different they are."""

from __future__ import annotations

from stillhouse.curation.rationales.choosing import choose, weigh
from stillhouse.curation.rationales.diversity import Diversity, diversity
from stillhouse.curation.rationales.reading import Reading, read_folder, read_rationales
from stillhouse.curation.rationales.scoring import RULES, Rule, Score, right, score
from stillhouse.curation.rationales.sieves import Sieve, Sifted, sift

__all__ = [
    "RULES",
    "Diversity",
    "Reading",
    "Rule",
    "Score",
    "Sieve",
    "Sifted",
    "choose",
    "diversity",
    "read_folder",
    "read_rationales",
    "right",
    "score",
    "sift",
    "weigh",
]
