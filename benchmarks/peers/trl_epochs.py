"""An epoch of TRL's GKDTrainer off-policy, run by the Python of an environment of its own: `trl_epochs.py JOB.json` prints JSON.

`lmbda` = 0 (never its own samples) and `beta` = 0 (forward KL); what the job does not name is left as TRL has it. Two epochs are
trained and the second one is timed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl.experimental.gkd import GKDConfig, GKDTrainer


class Clock(TrainerCallback):
    """When each epoch ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    """Train two epochs, print how long the second took."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(job["student"])
    student, teacher = (AutoModelForCausalLM.from_pretrained(job[name], dtype=torch.float32) for name in ("student", "teacher"))
    options = {} if job["checkpointing"] is None else {"gradient_checkpointing": job["checkpointing"]}
    arguments = GKDConfig(
        output_dir=job["out"],
        per_device_train_batch_size=job["batch_size"],
        num_train_epochs=2,
        learning_rate=job["learning_rate"],
        lmbda=0.0,
        beta=0.0,
        temperature=1.0,
        max_length=512,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        bf16=False,
        use_cpu=job["device"] == "cpu",
        **options,
    )
    clock = Clock()
    trainer = GKDTrainer(
        model=student,
        teacher_model=teacher,
        args=arguments,
        train_dataset=Dataset.from_list([{"messages": messages} for messages in job["messages"]]),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(json.dumps({"seconds": clock.ends[1] - clock.ends[0], "losses": losses, "trl": trl.__version__}))


if __name__ == "__main__":
    main()
