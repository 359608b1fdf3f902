"""Answers for on-policy distillation, tokens/s: our sampler against the generation of TRL's GKDTrainer, in one run.

    python benchmarks/rollouts.py --peer-python PYTHON [--prompts 16] [--tokens 128] [--rounds 3] [--device cpu|cuda] [--json]

PYTHON is that of an environment with trl 1.16; the same student (20 million random weights), prompts, temperature and number of
threads for both. Rounds alternate; the two are never at work at once; loading and a warm-up are not counted. TRL is measured as
it comes, without its key/value cache, and with it. Without --peer-python only ours is. Exits with 1 below --at-least.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from stillhouse.recipe import Student
from stillhouse.students.causal import CausalStudent
from stillhouse.students.sampler import Sampling, draw

PEER = Path(__file__).parent / "peers" / "trl_rollouts.py"
VOCABULARY = 16384
SHAPE = {
    "model_type": "llama",
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
TEMPERATURE = 0.9
"""GKDConfig's default."""


def main() -> int:
    """Measure, print, judge."""
    options = _options()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as root:
        student = _student(Path(root), options.device)
        prompts = _prompts(options.prompts)
        seconds = _measure(options, student, prompts, Path(root))
    result = {
        "parameters": student.parameters,
        "prompts": options.prompts,
        "tokens": options.tokens,
        "device": options.device,
        "threads": options.threads,
        "tokens_per_second": {name: statistics.median(values) for name, values in seconds.items() if values},
    }
    rates = result["tokens_per_second"]
    ratios = {name: rates["stillhouse"] / rate for name, rate in rates.items() if name != "stillhouse"}
    print(json.dumps({**result, "ratios": ratios}, indent=2) if options.json else _table(result, ratios))
    return 1 if ratios and ratios["trl"] < options.at_least else 0


def _measure(options: argparse.Namespace, student: CausalStudent, prompts: list[list[int]], root: Path) -> dict[str, list[float]]:
    """Name -> tokens/s of each round."""
    rates: dict[str, list[float]] = {"stillhouse": [], "trl": [], "trl with its cache": []}
    _ours(student, prompts, 4, options.device)
    for _ in range(options.rounds):
        rates["stillhouse"].append(_ours(student, prompts, options.tokens, options.device))
        if options.peer_python is not None:
            for name, cache in (("trl", False), ("trl with its cache", True)):
                said = _peer(options, student, prompts, root, cache=cache)
                rates[name].append(said["tokens"] / said["seconds"])
    return rates


def _ours(student: CausalStudent, prompts: list[list[int]], tokens: int, device: str) -> float:
    numbers_RM = torch.rand(len(prompts), tokens, dtype=torch.double)
    started = time.perf_counter()
    answers = draw(student, prompts, numbers_RM, [tokens] * len(prompts), Sampling(temperature=TEMPERATURE))
    if device == "cuda":
        torch.cuda.synchronize()
    return sum(len(answer.tokens) for answer in answers) / (time.perf_counter() - started)


def _peer(
    options: argparse.Namespace, student: CausalStudent, prompts: list[list[int]], root: Path, *, cache: bool
) -> dict[str, Any]:
    job = {
        "folder": str(root / "student"),
        "prompts": prompts,
        "tokens": options.tokens,
        "threads": options.threads,
        "device": options.device,
        "temperature": TEMPERATURE,
        "pad": student.pad_id,
        "eos": student.eos_id,
        "cache": cache,
    }
    (root / "job.json").write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run([options.peer_python, PEER, root / "job.json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The peer failed:\n{done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _student(root: Path, device: str) -> CausalStudent:
    """Random weights, saved where the peer finds them."""
    tokens = ["<pad>", "<eos>", "<unk>", *(f"w{i}" for i in range(VOCABULARY - 3))]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>")),
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
    )
    tokenizer.save_pretrained(root / "tokenizer")
    student = CausalStudent.build(Student(kind="causal", config=SHAPE, tokenizer=str(root / "tokenizer")))
    student.save(root / "student")
    student.network.to(device)
    return student


def _prompts(count: int) -> list[list[int]]:
    """Of 16 to 48 tokens."""
    numbers = random.Random(0)
    return [[numbers.randrange(3, VOCABULARY) for _ in range(numbers.randrange(16, 49))] for _ in range(count)]


def _table(result: dict[str, Any], ratios: dict[str, float]) -> str:
    lines = [f"{result['parameters'] / 1e6:.1f}M parameters, {result['prompts']} prompts, {result['tokens']} new tokens each"]
    for name, rate in result["tokens_per_second"].items():
        lines.append(f"{name:>20}  {rate:8.0f} tokens/s" + (f"   1/{ratios[name]:.1f}" if name in ratios else ""))
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="a Python with trl 1.16")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--at-least", type=float, default=10.0, help="times TRL's tokens/s as it comes")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
