"""Comparisons of inner states by name: hidden states, attention, relations. Listing them imports none."""

from __future__ import annotations

from stillhouse.registry import Table

FEATURES = Table(
    "feature",
    "features",
    {
        "attention": "stillhouse.features.attention:Attention",
        "embeddings": "stillhouse.features.hidden_states:Embeddings",
        "hidden_states": "stillhouse.features.hidden_states:HiddenStates",
        "patient": "stillhouse.features.patient:Patient",
        "pkt": "stillhouse.features.pkt:PKT",
        "pooled": "stillhouse.features.pooled:Pooled",
        "relations": "stillhouse.features.relations:Relations",
        "rkd_angle": "stillhouse.features.rkd:Angle",
        "rkd_distance": "stillhouse.features.rkd:Distance",
        "similarity_preserving": "stillhouse.features.similarity_preserving:SimilarityPreserving",
    },
)
