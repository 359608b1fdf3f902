"""A decoder: any causal language model of transformers, from a folder or from scratch, and its tokenizer.

Here stands the one place that turns a chat into token ids; training, evaluation and serving all call it, so a student is asked
exactly as it was taught. Weights are safetensors, everything else JSON and text; nothing is fetched, no foreign code is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError, UsageError
from stillhouse.recipe import Student as StudentSpec
from stillhouse.students.adapting import adapt
from stillhouse.students.building import build_network, load_network
from stillhouse.students.collating.decoder import collate_decoder, pack_decoder
from stillhouse.students.folders import load_config, load_tokenizer
from stillhouse.students.heads import head_of
from stillhouse.students.initialising.decoders import start_decoder
from stillhouse.students.prompting import ids_of, render
from stillhouse.students.states import real_tokens, with_states
from stillhouse.students.writing import WritingStudent
from stillhouse.tensors import Batch, Encoded, Output, Wanted

transformers_logging.disable_progress_bar()  # it would draw bars of its own on stderr while loading and saving


class CausalStudent(WritingStudent):
    """A causal language model with its tokenizer."""

    kind = "causal"

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.network = network
        """A transformers PreTrainedModel."""
        self.tokenizer = tokenizer
        """A transformers tokenizer with an end-of-sequence token."""
        if tokenizer.eos_token_id is None:
            raise UsageError("The tokenizer has no eos_token: a student would never know when to stop. Set one in its folder.")
        self.eos_id = int(tokenizer.eos_token_id)
        self.pad_id = self.eos_id if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)

    # -- made, loaded, saved ---------------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        spec: StudentSpec,
        base_folder: Path | None = None,
        *,
        dropout: float = 0.0,
        seed: int = 0,
        examples: Sequence[Example] | None = None,
        teacher: Any = None,
    ) -> CausalStudent:
        """A student to be trained: the weights in `base_folder`, or random ones (by `seed`) of the shape `spec.config`.

        `spec.config` is what transformers' configuration takes, `model_type` included: {"model_type": "llama", "hidden_size":
        128, ...}. With `spec.init` it is cut from the `teacher`, by what counts on the train split, `examples`. Raises
        RecipeError for a spec that cannot be built, UsageError for a folder that cannot be loaded.
        """
        if spec.init is not None:
            network, tokenizer = start_decoder(AutoModelForCausalLM, spec, teacher, examples, dropout=dropout)
            if spec.adapter is not None:
                adapt(network, spec.adapter, seed=seed)
            return cls(network, tokenizer)
        network, tokenizer = build_network(
            AutoModelForCausalLM, spec, base_folder, dropout=dropout, seed=seed, example='"llama", "qwen2" or "gpt2"'
        )
        return cls(network, tokenizer)

    @classmethod
    def load(cls, folder: Path) -> CausalStudent:
        """What `save` wrote, ready to answer. Raises UsageError for a folder that cannot be loaded or could run code."""
        student = cls(load_network(AutoModelForCausalLM, folder, load_config(folder)), load_tokenizer(folder))
        student.network.eval()
        return student

    # -- chats and token ids ---------------------------------------------------------------------------------------------

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None = None) -> list[int]:
        """The ids after which the answer's first token comes: the chat template with its generation prompt.

        No messages at all is plain text: one start token, nothing else. Raises UsageError for content that is not text.
        """
        return self._prompts_ids([(messages, tools)])[0]

    def encode(self, examples: Sequence[Example], *, max_tokens: int) -> list[Encoded]:
        """Examples for training, in order: the prompt's ids, the answer's, and the end token, which is supervised too.

        The border is known because the two are tokenised apart, so no template needs to mark it. Raises TrainingError that
        names the example without an answer, RecipeError that names the one above `max_tokens` or the network's positions.
        """
        prompts = self._prompts_ids([(example.messages, example.tools) for example in examples])
        answers = ids_of(self.tokenizer, [example.answer for example in examples])
        return [
            self._joined(example, prompt, answer, max_tokens)
            for example, prompt, answer in zip(examples, prompts, answers, strict=True)
        ]

    def collate(self, rows: Sequence[Encoded]) -> Batch:
        """Padded on the right, so that under a causal mask no token sees the padding."""
        return collate_decoder(rows, self.pad_id)

    def pack(self, rows: Sequence[Encoded]) -> Batch:
        """Short examples one after the other in a row; `training/packing.py` finds out whether the network keeps them apart."""
        return pack_decoder(rows, self.pad_id)

    def output(self, batch: Batch, *, wanted: Wanted | None = None) -> Output:
        """The states before the head at every position that predicts a supervised token, and the inner ones that are wanted."""

        def run() -> Tensor:
            states_BTH: Tensor = self.network.base_model(**batch.inputs, use_cache=False).last_hidden_state
            return states_BTH.flatten(0, 1).index_select(0, batch.positions_N)

        if not wanted:
            return Output(run(), head_of(self.network))
        hidden_NH, states = with_states(self.network, wanted, run, real_tokens(batch))
        return Output(hidden_NH, head_of(self.network), states)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of an answer's ids, without special tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def answer(self, chats: Sequence[Sequence[Message]], *, max_tokens: int = 256) -> list[str]:
        """Greedy answers, one chat after the other, by transformers' own `generate`."""
        return [self._greedy(self.prompt_ids(chat), max_tokens) for chat in chats]

    def _greedy(self, prompt: list[int], max_tokens: int) -> str:
        room = max_tokens if self.max_positions is None else min(max_tokens, self.max_positions - len(prompt))
        tokens_1T = torch.tensor([prompt], device=self.network.device)
        with torch.inference_mode():
            whole_1T = self.network.generate(
                input_ids=tokens_1T,
                attention_mask=torch.ones_like(tokens_1T),
                max_new_tokens=max(room, 1),
                do_sample=False,
                eos_token_id=self.eos_id,
                pad_token_id=self.pad_id,
            )
        return self.decode(whole_1T[0, len(prompt) :].tolist())

    def _prompts_ids(self, prompts: Sequence[tuple[Sequence[Message], Sequence[dict[str, Any]] | None]]) -> list[list[int]]:
        texts = [render(self.tokenizer, messages, tools) if messages else "" for messages, tools in prompts]
        encoded = ids_of(self.tokenizer, texts)
        for ids, (messages, _) in zip(encoded, prompts, strict=True):
            if messages and not ids:  # nothing would stand before the answer's first token, and so nothing predict it
                raise UsageError(f"The chat template renders this chat to no token: {str(messages)[:200]}.")
        return [ids if messages else [self._start_id()] for ids, (messages, _) in zip(encoded, prompts, strict=True)]

    def _start_id(self) -> int:
        start = self.tokenizer.bos_token_id
        return self.eos_id if start is None else int(start)

    def _joined(self, example: Example, prompt: list[int], answer: list[int], max_tokens: int) -> Encoded:
        if not answer:
            raise TrainingError(
                f"The example {example.id} has no token to learn from: its answer is empty. Remove it from the dataset."
            )
        tokens = (*prompt, *answer, self.eos_id)
        if len(tokens) > max_tokens:
            raise RecipeError(
                f"The example {example.id} has {len(tokens)} tokens, more than training.max_tokens = {max_tokens}. "
                f"Set it to at least {len(tokens)}, or remove the example: examples are never cut."
            )
        if self.max_positions is not None and len(tokens) > self.max_positions:
            raise RecipeError(
                f"The example {example.id} has {len(tokens)} tokens, and this network has {self.max_positions} positions "
                "(max_position_embeddings). Remove the example, or take a student with more."
            )
        return Encoded(example.id, tokens, len(prompt), example.weight, task=example.metadata.get("task", ""))
