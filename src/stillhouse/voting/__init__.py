"""Votes on the labels of texts: teachers' answers and functions' verdicts become votes, votes together a label.

`asking` makes the request, `mapping` finds the label in an answer, `hearing` says how sure it is, `combining` puts votes
together, by weights or with the label model of `dawid_skene`. Pure: nobody is asked here, nothing is kept.
"""

from __future__ import annotations

from stillhouse.voting.asking import Classification
from stillhouse.voting.combining import Combined, How, combine
from stillhouse.voting.label_names import LabelNames
from stillhouse.voting.votes import Vote, Votes

__all__ = ["Classification", "Combined", "How", "LabelNames", "Vote", "Votes", "combine"]
