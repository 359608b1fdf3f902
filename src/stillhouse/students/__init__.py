"""Networks and pipelines that are trained and served, by kind. Listing them imports none."""

from __future__ import annotations

import os

from stillhouse.registry import Table

# Before torch is loaded, because OpenMP reads it once: threads that wait for each other sleep instead of spinning. On a machine
# that does anything else (a gateway, say) spinning threads hold the cores that the others need: several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

STUDENTS = Table(
    "student kind",
    "students",
    {
        "causal": "stillhouse.students.causal:CausalStudent",
        "encoder": "stillhouse.students.encoder:EncoderStudent",
        "linear": "stillhouse.students.linear:LinearStudent",
        "seq2seq": "stillhouse.students.seq2seq:Seq2SeqStudent",
        "static": "stillhouse.students.static:StaticStudent",
    },
)
