"""Losses by name. Listing them imports none."""

from __future__ import annotations

from stillhouse.registry import Table

LOSSES = Table(
    "loss",
    "losses",
    {
        "cross_entropy": "stillhouse.losses.cross_entropy:CrossEntropy",
        "forward_kl": "stillhouse.losses.forward_kl:ForwardKL",
    },
)
