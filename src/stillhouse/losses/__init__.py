"""Losses by name. Listing them imports none."""

from __future__ import annotations

from stillhouse.registry import Table

LOSSES = Table(
    "loss",
    "losses",
    {
        "adaptive_kl": "stillhouse.losses.adaptive_kl:AdaptiveKL",
        "cross_entropy": "stillhouse.losses.cross_entropy:CrossEntropy",
        "forward_kl": "stillhouse.losses.forward_kl:ForwardKL",
        "jensen_shannon": "stillhouse.losses.jensen_shannon:JensenShannon",
        "ranked": "stillhouse.losses.ranked:Ranked",
        "reverse_kl": "stillhouse.losses.reverse_kl:ReverseKL",
        "sampled": "stillhouse.losses.sampled:Sampled",
        "skew_kl": "stillhouse.losses.skew_kl:SkewKL",
        "skew_reverse_kl": "stillhouse.losses.skew_reverse_kl:SkewReverseKL",
        "symmetric_kl": "stillhouse.losses.symmetric_kl:SymmetricKL",
        "taid": "stillhouse.losses.taid:TAID",
        "top_k": "stillhouse.losses.top_k:TopK",
        "total_variation": "stillhouse.losses.total_variation:TotalVariation",
    },
)
