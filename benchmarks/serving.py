"""A student behind the gateway at 8 concurrent requests, against transformers' `generate` called one by one, in one run.

    python benchmarks/serving.py [--artifact FOLDER] [--concurrency 8] [--requests 96] [--tokens 96] [--json]

The gateway is `stillhouse serve` as its own process, asked over HTTP by one asynchronous client; `generate` runs here, on
the same folder, the same prompts and the same number of threads, greedy like the gateway. Rounds alternate, and whoever does not
answer is idle. Without --artifact a decoder of 4 layers of 128 with random weights stands in. Exits with 1 below --at-least.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from stillhouse.artifact import Artifact
from stillhouse.recipe import Student
from stillhouse.settings import Settings
from stillhouse.students import STUDENTS  # before torch, which then waits for its threads as the server's does: asleep
from stillhouse.workspace import Workspace

STAND_IN = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


def main() -> int:
    """Measure, print, judge."""
    options = _options()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as root:
        home = Path(root)
        settings, artifact = _registered(options.artifact or _stand_in(home / "stand-in"), home / "data")
        student = STUDENTS.resolve("causal").load(settings.artifacts / artifact.id)
        prompts = _prompts(options.requests)
        with _server(settings.data_dir, options.threads) as url:
            rounds = asyncio.run(_measure(options, url, artifact.id, student, prompts))
    result = _summary(options, artifact, rounds)
    print(json.dumps(result) if options.json else _table(result))
    return 0 if result["times_faster"] >= options.at_least else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, help="a model folder of kind causal")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--requests", type=int, default=96, help="a round, over the gateway; generate gets a quarter of them")
    parser.add_argument("--tokens", type=int, default=96, help="of an answer at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch, for both")
    parser.add_argument("--at-least", type=float, default=2.0, help="times the requests/s of generate")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


async def _measure(options: argparse.Namespace, url: str, model: str, student: Any, prompts: list[str]) -> list[dict[str, Any]]:
    """Alternate rounds of both; a first one of each, not counted, warms the caches."""
    few = prompts[: max(4, options.requests // 4)]
    rounds = []
    async with aiohttp.ClientSession() as session:
        for number in range(options.rounds + 1):
            begun = time.perf_counter()
            alone = [student.answer([[{"role": "user", "content": prompt}]], max_tokens=options.tokens)[0] for prompt in few]
            alone_seconds = time.perf_counter() - begun
            begun = time.perf_counter()
            answers = await _ask_all(session, url, model, prompts, options)
            seconds = time.perf_counter() - begun
            if number:
                rounds.append(
                    {
                        "generate_rps": len(few) / alone_seconds,
                        "gateway_rps": len(prompts) / seconds,
                        "gateway_tps": sum(tokens for _, _, tokens in answers) / seconds,
                        "latency_ms": sorted(latency * 1000 for _, latency, _ in answers),
                        "same": sum(text == answer for text, (answer, _, _) in zip(alone, answers, strict=False)) / len(few),
                    }
                )
    return rounds


async def _ask_all(
    session: aiohttp.ClientSession, url: str, model: str, prompts: list[str], options: argparse.Namespace
) -> list[tuple[str, float, int]]:
    """(text, seconds, tokens) of each prompt, `concurrency` of them under way at a time."""
    gate = asyncio.Semaphore(options.concurrency)

    async def ask(prompt: str) -> tuple[str, float, int]:
        request = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_completion_tokens": options.tokens}
        async with gate:
            begun = time.perf_counter()
            async with session.post(f"{url}/chat/completions", json={**request, "temperature": 0}) as response:
                response.raise_for_status()
                body = await response.json()
        usage = body["usage"]
        return body["choices"][0]["message"]["content"], time.perf_counter() - begun, usage["completion_tokens"]

    return await asyncio.gather(*(ask(prompt) for prompt in prompts))


@contextlib.contextmanager
def _server(data_dir: Path, threads: int) -> Iterator[str]:
    """`stillhouse serve` on a free port; the base URL."""
    command = [sys.executable, "-m", "stillhouse.cli.main", "--data-dir", str(data_dir), "serve", "--port", "0", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()
            process.wait()


def _registered(folder: Path, data_dir: Path) -> tuple[Settings, Artifact]:
    settings = Settings.load(data_dir)
    workspace = Workspace(settings)
    try:
        return settings, workspace.add_model(folder)
    finally:
        workspace.close()


def _prompts(count: int) -> list[str]:
    """Questions of 20 to 120 letters, always the same ones."""
    dice = random.Random(0)
    return ["".join(dice.choices(string.ascii_lowercase + " ", k=dice.randint(20, 120))) for _ in range(count)]


def _stand_in(folder: Path) -> Path:
    """A decoder with random weights and a tokenizer of letters."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    letters = {token: index for index, token in enumerate(["<eos>", "<unk>", *string.printable])}
    tokenizer = Tokenizer(WordLevel(letters, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder / "tokenizer")
    spec = Student(kind="causal", config=STAND_IN, tokenizer=str(folder / "tokenizer"))
    STUDENTS.resolve("causal").build(spec).save(folder / "model")
    return folder / "model"


def _summary(options: argparse.Namespace, artifact: Artifact, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds."""
    latencies = sorted(latency for one in rounds for latency in one["latency_ms"])
    generate, gateway = (statistics.median(one[name] for one in rounds) for name in ("generate_rps", "gateway_rps"))
    return {
        "parameters": artifact.parameters,
        "threads": options.threads,
        "concurrency": options.concurrency,
        "generate_requests_per_second": round(generate, 2),
        "gateway_requests_per_second": round(gateway, 2),
        "times_faster": round(gateway / generate, 2),
        "gateway_tokens_per_second": round(statistics.median(one["gateway_tps"] for one in rounds)),
        "gateway_latency_p50_ms": round(latencies[len(latencies) // 2]),
        "gateway_latency_p99_ms": round(latencies[int(len(latencies) * 0.99)]),
        "same_text": round(statistics.mean(one["same"] for one in rounds), 4),
    }


def _table(result: dict[str, Any]) -> str:
    return "\n".join(f"{name.replace('_', ' '):32} {value:>12,}" for name, value in result.items())


if __name__ == "__main__":
    sys.exit(main())
