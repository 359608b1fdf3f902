"""Who gives grades, by name. A new grader is one file here and one line in this table.

Strings only: listing the graders imports none of them.
"""

from __future__ import annotations

from stillhouse.registry import Table

GRADERS = Table(
    "grader",
    "graders",
    {
        "answer": "stillhouse.graders.answer:Answer",
        "exact": "stillhouse.graders.exact:Exact",
        "label_model": "stillhouse.graders.label_model:LabelModel",
        "multi": "stillhouse.graders.multi:Multi",
        "normalised": "stillhouse.graders.normalised:Normalised",
        "pairwise": "stillhouse.graders.pairwise:Pairwise",
        "python": "stillhouse.graders.python:Python",
        "rubric": "stillhouse.graders.rubric:RubricGrader",
        "score_model": "stillhouse.graders.score_model:ScoreModel",
        "string_check": "stillhouse.graders.string_check:StringCheck",
        "text_similarity": "stillhouse.graders.text_similarity:TextSimilarity",
        "typed_answer": "stillhouse.graders.typed_answer:TypedAnswer",
    },
)
"""Each kind is a class. One with a `Config` is built from its configuration and from what it may use; one without, without
arguments (`stillhouse.graders.building`)."""
