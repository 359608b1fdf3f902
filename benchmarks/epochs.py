"""An epoch of off-policy distillation, tokens/s: ours from a teacher's cache, ours live, and TRL's GKDTrainer, in one run.

    python benchmarks/epochs.py --peer-python PYTHON [--examples 192] [--batch-size 8] [--rounds 1] [--device cpu] [--json]

PYTHON is that of an environment with trl 1.16. The same two decoders (a teacher of 8 layers of 512, a student of 4 of 256, random
weights), the same conversations of 60 to 350 tokens, the same batch size, forward KL alone, float32, the same number of threads.
Each trains two epochs; the second one is timed, and the cache's first one with building it. TRL is measured as it comes
(gradient checkpointing on) and without; the faster counts. Exits with 1 below --at-least (of the cache).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stillhouse.dataset import Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.recipe import Recipe, Student
from stillhouse.students import STUDENTS
from stillhouse.training import Progress, train

PEER = Path(__file__).parent / "peers" / "trl_epochs.py"
VOCABULARY = 16384
COMMON = {"model_type": "llama", "max_position_embeddings": 512, "tie_word_embeddings": True}
TEACHER = {**COMMON, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 8, "num_attention_heads": 8}
STUDENT = {**COMMON, "hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 4}
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ '<a> ' + m['content'] + ' <eos>' }}"
    "{% else %}{{ '<u> ' + m['content'] + ' ' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<a> ' }}{% endif %}"
)
RATE = 1e-4


def main() -> int:
    """Measure, print, judge."""
    options = _options()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as root:
        result = _measure(options, Path(root))
    print(json.dumps(result, indent=2) if options.json else _table(result))
    return 0 if result.get("times_trl", {}).get("cached", options.at_least) >= options.at_least else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="a Python with trl 1.16")
    parser.add_argument("--examples", type=int, default=192)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="float32", help="of ours; the peer's is float32")
    parser.add_argument("--at-least", type=float, default=3.0, help="times TRL's tokens/s, from the cache")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _measure(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    tokenizer = _tokenizer(root / "tokenizer")
    folders = {name: _model(root / name, shape, tokenizer) for name, shape in (("teacher", TEACHER), ("student", STUDENT))}
    examples = _examples(options.examples)
    write_dataset_folder(root / "data", examples, name="epochs")
    tokens = _tokens(folders["student"], examples)
    ours = {source: _ours(source, options, root, folders) for source in ("live", "cache")}
    result: dict[str, Any] = {
        "tokens_an_epoch": tokens,
        "parameters": {name: STUDENTS.resolve("causal").load(folder).parameters for name, folder in folders.items()},
        "tokens_per_second": {"live": tokens / ours["live"]["second"], "cached": tokens / ours["cache"]["second"]},
        "cache_build_seconds": ours["cache"]["build"],
        "first_loss": {source: each["loss"] for source, each in ours.items()},
    }
    if options.peer_python is not None:
        peers = {
            name: _peer(options, root, folders, examples, flag)
            for name, flag in (("as it comes", None), ("without checkpointing", False))
        }
        result["trl"] = {
            name: {"tokens_per_second": tokens / said["seconds"], "first_loss": said["losses"][0]} for name, said in peers.items()
        }
        fastest = max(each["tokens_per_second"] for each in result["trl"].values())
        result["times_trl"] = {name: rate / fastest for name, rate in result["tokens_per_second"].items()}
    return result


def _ours(source: str, options: argparse.Namespace, root: Path, folders: dict[str, Path]) -> dict[str, float]:
    """Seconds of the second epoch, and of what came before the first step."""
    plan = Recipe.model_validate(
        {
            "teacher": {"model": "teacher"},
            "student": {"kind": "causal", "base": "student"},
            "method": {"kind": "white-box", "loss": "forward_kl", "weight": 1.0, "source": source},
            "training": {
                "epochs": 2,
                "batch_size": options.batch_size,
                "learning_rate": RATE,
                "max_tokens": 512,
                "precision": options.precision,
                "checkpoint_every": 10**6,
                "evaluate_every": 10**6,
                "threads": options.threads,
            },
        }
    )
    steps: dict[int, float] = {}
    losses: dict[int, float] = {}

    def hear(progress: Progress) -> None:
        if progress.metrics:
            steps[progress.step] = time.perf_counter()
            losses[progress.step] = progress.metrics["train/loss"]

    began = time.perf_counter()
    train(
        plan,
        root / "data",
        root / f"work-{source}",
        report=hear,
        teacher_folder=folders["teacher"],
        base_folder=folders["student"],
    )
    last = max(steps)
    return {"second": steps[last] - steps[last // 2], "build": steps[1] - began, "loss": losses[1]}


def _peer(
    options: argparse.Namespace, root: Path, folders: dict[str, Path], examples: list[Example], checkpointing: bool | None
) -> dict[str, Any]:
    messages = [[*example.messages, {"role": "assistant", "content": example.answer}] for example in examples]
    job = {
        "student": str(folders["student"]),
        "teacher": str(folders["teacher"]),
        "messages": messages,
        "batch_size": options.batch_size,
        "learning_rate": RATE,
        "threads": options.threads,
        "device": options.device,
        "checkpointing": checkpointing,
        "out": str(root / "trl"),
    }
    (root / "job.json").write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run([options.peer_python, PEER, root / "job.json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The peer failed:\n{done.stderr[-3000:]}")
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _tokenizer(folder: Path) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<u>", "<a>", *(f"w{i}" for i in range(VOCABULARY - 4))]
    pieces = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    pieces.pre_tokenizer = WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="<pad>", eos_token="<eos>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return folder


def _model(folder: Path, shape: dict[str, Any], tokenizer: Path) -> Path:
    kind = STUDENTS.resolve("causal")
    kind.build(Student(kind="causal", config=shape, tokenizer=str(tokenizer)), seed=len(folder.name)).save(folder)
    return folder


def _examples(count: int) -> list[Example]:
    """Half of the tokens are the answer's."""
    numbers = random.Random(0)

    def text(least: int, most: int) -> str:
        return " ".join(f"w{numbers.randrange(VOCABULARY - 4)}" for _ in range(numbers.randint(least, most)))

    return [Example(id=str(i), messages=[{"role": "user", "content": text(30, 175)}], answer=text(30, 175)) for i in range(count)]


def _tokens(folder: Path, examples: list[Example]) -> int:
    student = STUDENTS.resolve("causal").load(folder)
    return sum(row.length for row in student.encode(examples, max_tokens=512))


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['tokens_an_epoch']:,} tokens an epoch; parameters {result['parameters']}"]
    lines += [f"{'ours, ' + name:>28}  {rate:8,.0f} tokens/s" for name, rate in result["tokens_per_second"].items()]
    lines.append(f"{'building the cache':>28}  {result['cache_build_seconds']:8.1f} s, once")
    for name, each in result.get("trl", {}).items():
        lines.append(f"{'TRL ' + name:>28}  {each['tokens_per_second']:8,.0f} tokens/s")
    for name, times in result.get("times_trl", {}).items():
        lines.append(f"{name:>28}  {times:8.2f} times the faster TRL")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
