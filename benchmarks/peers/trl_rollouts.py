"""TRL's GKD generation, run by the Python of an environment of its own: `trl_rollouts.py JOB.json` prints one JSON object.

What is timed is TRL's own `GKDTrainer.generate_on_policy_outputs` with the settings that its trainer makes of a default
`GKDConfig` (`use_cache` = False, because gradient checkpointing is on by default), on prompts its collator would pad on the left.
With `"cache": true` the one setting is turned over, to show how much of the difference it is.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import transformers
import trl
from transformers import AutoModelForCausalLM, GenerationConfig
from trl.experimental.gkd import GKDConfig, GKDTrainer


def main() -> None:
    """Warm up, generate once, print."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    device = torch.device(job["device"])
    model = AutoModelForCausalLM.from_pretrained(job["folder"], dtype=torch.float32).to(device)
    model.eval()
    inputs = padded(job["prompts"], job["pad"], device)
    model.generation_config = settings(job, 4)
    GKDTrainer.generate_on_policy_outputs(model, inputs, settings(job, 4))
    model.generation_config = config = settings(job, job["tokens"])
    torch.manual_seed(0)
    started = time.perf_counter()
    _, _, labels = GKDTrainer.generate_on_policy_outputs(model, inputs, config)
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    versions = {"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    print(json.dumps({"seconds": seconds, "tokens": int((labels != -100).sum()), "use_cache": config.use_cache, **versions}))


def settings(job: dict, tokens: int) -> GenerationConfig:
    """What GKDTrainer.__init__ makes of its arguments (trl 1.16)."""
    defaults = GKDConfig(output_dir=job["folder"] + "-unused", use_cpu=job["device"] == "cpu", bf16=False, report_to="none")
    return GenerationConfig(
        max_new_tokens=tokens,
        temperature=job["temperature"],
        do_sample=True,
        top_k=0,
        top_p=1.0,
        use_cache=True if job["cache"] else not defaults.gradient_checkpointing,
        pad_token_id=job["pad"],
        eos_token_id=job["eos"],
    )


def padded(prompts: list[list[int]], pad: int, device: torch.device) -> dict[str, torch.Tensor]:
    """As TRL's collator hands them to the trainer."""
    width = max(map(len, prompts))
    rows = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
    masks = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return {"prompts": torch.tensor(rows, device=device), "prompt_attention_mask": torch.tensor(masks, device=device)}


if __name__ == "__main__":
    main()
