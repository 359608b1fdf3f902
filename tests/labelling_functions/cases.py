"""One function of each kind, all of which say `late` about the same texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stillhouse.labelling_functions.base import LabellingFunction, Means
from stillhouse.labelling_functions.reading import build
from stillhouse.sandbox import Limits, Sandbox

LABELS = ("late", "broken")
CONFIGS: dict[str, dict[str, Any]] = {
    "keyword": {"label": "late", "any": ["late", "has not come", "迟到"]},
    "regex": {"label": "late", "pattern": r"\blate\b|has not\s+come|迟到"},
    "python": {
        "source": "def label(text):\n"
        "    text = ' '.join(text.casefold().split())\n"
        "    return 'late' if 'late' in text.split() or 'has not come' in text or '迟到' in text else None\n"
    },
}


def function(kind: str, *, limit: float = 20.0, **changes: Any) -> LabellingFunction:
    means = Means(LABELS, Path(), Sandbox(Limits(seconds=limit), at_once=1))
    return build({"type": kind, "name": f"my {kind}", **CONFIGS[kind], **changes}, means, "here")
