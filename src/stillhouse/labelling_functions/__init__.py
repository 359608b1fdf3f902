"""Labelling functions, by kind: rules that a person wrote, each says a label about some texts and nothing about the others.

Programmatic labelling as in Ratner et al., "Snorkel: Rapid Training Data Creation with Weak Supervision" (VLDB 2017). A new kind
is one file here and one line in this table; strings only: listing the kinds imports none of them.
"""

from __future__ import annotations

from stillhouse.registry import Table

LABELLING_FUNCTIONS = Table(
    "kind of labelling function",
    "labelling_functions",
    {
        "keyword": "stillhouse.labelling_functions.keyword:Keyword",
        "python": "stillhouse.labelling_functions.python:Python",
        "regex": "stillhouse.labelling_functions.regex:Regex",
    },
)
"""Each is a class with a `Config`, built as `Kind(config, means)`."""
