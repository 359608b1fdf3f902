"""Which texts are worth a label next, by name: selectors. A new one is one file here and one line in this table.

Strings only: listing the selectors imports none of them.
"""

from __future__ import annotations

from stillhouse.registry import Table

SELECTORS = Table(
    "selector",
    "selectors",
    {
        "disagreement": "stillhouse.selectors.disagreement:Disagreement",
        "entropy": "stillhouse.selectors.entropy:Entropy",
        "k_center": "stillhouse.selectors.k_center:KCenter",
        "k_means": "stillhouse.selectors.k_means:KMeans",
        "least_confidence": "stillhouse.selectors.least_confidence:LeastConfidence",
        "margin": "stillhouse.selectors.margin:Margin",
        "random": "stillhouse.selectors.random:Random",
    },
)
"""Each kind is a class without arguments (`stillhouse.selectors.base.Selector`)."""
