"""The twelve tasks' files as their owners publish them -> questions and answers, worded as in Kojima et al. 2022.

A kind is a class with `read(folder)`; it finds its files by their published names, in the folder or one of the folders in it.
"""

from __future__ import annotations

from stillhouse.registry import Table

ORIGINALS = Table(
    "task with files of its own",
    "originals",
    {
        "addsub": "stillhouse.formats.originals.word_problems:AddSub",
        "aqua": "stillhouse.formats.originals.aqua:Aqua",
        "coin_flip": "stillhouse.formats.originals.generated:CoinFlip",
        "commonsense_qa": "stillhouse.formats.originals.commonsense_qa:CommonsenseQA",
        "date_understanding": "stillhouse.formats.originals.big_bench:DateUnderstanding",
        "gsm8k": "stillhouse.formats.originals.gsm8k:GSM8K",
        "last_letter_concatenation": "stillhouse.formats.originals.generated:LastLetters",
        "multiarith": "stillhouse.formats.originals.word_problems:MultiArith",
        "single_eq": "stillhouse.formats.originals.word_problems:SingleEq",
        "strategy_qa": "stillhouse.formats.originals.strategy_qa:StrategyQA",
        "svamp": "stillhouse.formats.originals.svamp:Svamp",
        "tracking_shuffled_objects": "stillhouse.formats.originals.big_bench:TrackingShuffledObjects",
    },
)
