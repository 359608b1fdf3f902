"""What a teacher's cache costs on disk, a supervised token, in every tier; and how fast it is built and read.

    python benchmarks/cache_size.py [--steps 600] [--work work-cache-size] [--json]

A decoder of 4 layers of 256 is trained for `steps` steps on the solutions of GSM8K (../shared/data, skipped without it), over a
vocabulary of 8,192 pieces that is trained on the same text; then it is asked about 400 solutions that it did not see.
Bytes are those of the blocks on disk, index and padding included, the head of tier hidden told apart. The column `152k` has the
same rows with their ids spread over a vocabulary of 151,936. An unsure teacher costs more in tier sampled: how many different
tokens its 50 draws are is printed too. What was trained lies in the work folder; a second call only measures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.dataset import Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.method import Cache, WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.signals import Rows, SampledRows, SignalReader, TopRows
from stillhouse.signals.blocks import Block, write_block
from stillhouse.signals.tiers import columns_of
from stillhouse.students.causal import CausalStudent  # before torch, so that its threads wait asleep
from stillhouse.tensors import Encoded
from stillhouse.training import train
from stillhouse.training.caching import ensure_cache, entry_of, key_of, teacher_hash
from stillhouse.training.teachers.cached import CachedTeacher

SOURCE = Path(__file__).parent.parent.parent / "shared" / "data" / "gsm8k" / "train.jsonl"
PIECES, LARGE = 8192, 151_936
HELD_OUT = 400
BATCH = 16
A_BLOCK = 32
"""Examples, about as many as a block of the cache has."""
TEACHER = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
METHODS = {
    "hidden": WhiteBox(source="cache"),
    "top_k": WhiteBox(source="cache", cache=Cache(tier="top_k"), loss="top_k"),
    "sampled": WhiteBox(source="cache", cache=Cache(tier="sampled"), loss="sampled"),
}
TO_REACH = {"top_k": 300, "sampled": 40}


def solutions() -> list[str]:
    with SOURCE.open(encoding="utf-8") as file:
        return [json.loads(line)["answer"] for line in file]


def write_tokenizer(folder: Path, texts: Sequence[str]) -> Path:
    """Byte-level BPE, trained on `texts`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=PIECES, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    return folder


def trained_teacher(work: Path, texts: Sequence[str], steps: int) -> Path:
    """The folder of a teacher; trained the first time."""
    examples = [Example(id=f"train-{i}", messages=[], answer=text) for i, text in enumerate(texts)]
    write_dataset_folder(work / "data", examples, name="gsm8k-solutions")
    recipe = Recipe.model_validate(
        {
            "name": "teacher",
            "student": {"kind": "causal", "config": TEACHER, "tokenizer": str(work / "tokenizer")},
            "training": {"steps": steps, "batch_size": 16, "learning_rate": 2e-3, "max_tokens": 512, "precision": "auto"},
        }
    )
    made = train(recipe, work / "data", work / f"teacher-{steps}", report=lambda progress: say(progress.step, progress.steps))
    assert made is not None
    return made


def say(step: int, steps: int) -> None:
    if step % 50 == 0:
        print(f"teacher: step {step} of {steps}", file=sys.stderr, flush=True)


def measured(work: Path, tier: str, teacher: CausalStudent, folder: Path, rows: Sequence[Encoded]) -> dict[str, Any]:
    """One tier: bytes a token, tokens a second."""
    key = key_of(METHODS[tier], tokenizer=teacher.tokenizer_hash(), teacher=teacher_hash(folder))
    tokens = sum(entry_of(row).rows for row in rows)
    fresh = not (work / "signals" / key.name).exists()
    took = timed(lambda: ensure_cache(work / "signals", key, rows, lambda: teacher))
    reader = SignalReader(work / "signals" / key.name)
    reading = timed(lambda: read_epoch(CachedTeacher(reader, map(entry_of, rows)), teacher, rows))
    found = {
        "tier": tier,
        "tokens": tokens,
        "bytes_per_token": round(reader.block_bytes / tokens, 1),
        "to_reach": TO_REACH.get(tier),
        "head_bytes": sum(array.nbytes for array in reader.head.values()),
        "built_tokens_per_second": round(tokens / took) if fresh else None,
        "read_tokens_per_second": round(tokens / reading),
    }
    said = reader.rows([row.example for row in rows])
    if isinstance(said, SampledRows):
        found["different_tokens_of_50_draws"] = round(float(said.uniques_N.mean()), 1)
    return {**found, "bytes_per_token_152k": spread_out(reader, rows)}


def read_epoch(taught: CachedTeacher, teacher: CausalStudent, rows: Sequence[Encoded]) -> None:
    """Every example once, in a random order, as the trainer would."""
    order = np.random.default_rng(0).permutation(len(rows))
    for start in range(0, len(order), BATCH):
        taught.source(teacher.collate([rows[i] for i in order[start : start + BATCH]]))


def spread_out(reader: SignalReader, rows: Sequence[Encoded]) -> float | None:
    """Bytes a token of the same rows, their ids drawn from a large vocabulary. None where ids are not kept."""
    ids = np.random.default_rng(0).permutation(LARGE)[:PIECES].astype(np.int32)
    size = 0
    for start in range(0, len(rows), A_BLOCK):
        part = [entry_of(row) for row in rows[start : start + A_BLOCK]]
        said: Rows = reader.rows([entry.example for entry in part])
        if isinstance(said, TopRows):
            said = TopRows(ids[said.ids_NK], said.log_probs_NK, said.log_tail_N)
        elif isinstance(said, SampledRows):
            said = SampledRows(ids[said.ids_U], said.counts_U, said.uniques_N)
        else:
            return None
        size += len(write_block(Block(tuple(part), columns_of(said, np.asarray([entry.rows for entry in part]), LARGE))))
    return round(size / sum(entry_of(row).rows for row in rows), 1)


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--work", type=Path, default=Path("work-cache-size"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not SOURCE.exists():
        print(f"skipped: {SOURCE} is not there", file=sys.stderr)
        return
    texts = solutions()
    held_out, seen = texts[:HELD_OUT], texts[HELD_OUT:]
    write_tokenizer(options.work / "tokenizer", seen)
    folder = trained_teacher(options.work, seen, options.steps)
    teacher = CausalStudent.load(folder)
    examples = [Example(id=f"held-out-{i}", messages=[], answer=text) for i, text in enumerate(held_out)]
    rows = teacher.encode(examples, max_tokens=512)
    found = [measured(options.work, tier, teacher, folder, rows) for tier in METHODS]
    print(json.dumps(found, indent=2) if options.json else table(found))


def table(found: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'tier':<9}{'B/token':>9}{'152k':>8}{'to reach':>10}{'built tok/s':>13}{'read tok/s':>12}"]
    for each in found:
        cells = [each["bytes_per_token"], each["bytes_per_token_152k"], each["to_reach"], each["built_tokens_per_second"]]
        shown = ["-" if cell is None else f"{cell:,}" for cell in [*cells, each["read_tokens_per_second"]]]
        lines.append(f"{each['tier']:<9}{shown[0]:>9}{shown[1]:>8}{shown[2]:>10}{shown[3]:>13}{shown[4]:>12}")
    uniques = next(each["different_tokens_of_50_draws"] for each in found if each["tier"] == "sampled")
    return "\n".join([*lines, f"50 draws are {uniques} different tokens on average; {found[0]['tokens']:,} tokens asked about"])


if __name__ == "__main__":
    main()
