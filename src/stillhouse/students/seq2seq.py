"""An encoder-decoder (T5, mT5, UMT5, BART, ...): reads a text with one network, says the answer with another, and its tokenizer.

It reads the chat through the tokenizer's template if there is one; plain T5s have none and read the last user message. Which
states become scores, and how they are scaled on the way (T5 with tied embeddings), is proven against the network's own scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError, UsageError
from stillhouse.recipe import Student as StudentSpec
from stillhouse.students.base import last_user_text
from stillhouse.students.building import build_network, load_network
from stillhouse.students.collating.seq2seq import collate_seq2seq
from stillhouse.students.folders import load_config, load_tokenizer
from stillhouse.students.heads import head_of
from stillhouse.students.initialising.seq2seq import start_seq2seq
from stillhouse.students.prompting import ids_of, render
from stillhouse.students.states import real_tokens, with_states
from stillhouse.students.writing import WritingStudent
from stillhouse.tensors import Batch, Encoded, Head, Output, Wanted

EXAMPLE = '"t5", "umt5" or "bart"'


class Seq2SeqStudent(WritingStudent):
    """An encoder-decoder with its tokenizer. T: input positions, U: decoder positions, N: supervised rows, H: width."""

    kind = "seq2seq"

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.network = network
        """A transformers PreTrainedModel that is an encoder-decoder."""
        self.tokenizer = tokenizer
        """A transformers tokenizer with an end-of-sequence token."""
        if tokenizer.eos_token_id is None:
            raise UsageError("The tokenizer has no eos_token: a student would never know when to stop. Set one in its folder.")
        self.eos_id = int(tokenizer.eos_token_id)
        self.pad_id = self.eos_id if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.start_id = _settle_start(network, self.pad_id)
        _prove_head(self)

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
    ) -> Seq2SeqStudent:
        """A student to be trained: the weights in `base_folder`, or random ones (by `seed`) of the shape `spec.config`.

        `spec.config` is what transformers' configuration takes, `model_type` included: {"model_type": "t5", "d_model": 128,
        ...}, and `prefix`, a text that is put before every input, which may stand beside a base too. With `spec.init` it is some
        of the `teacher`'s layers; `examples` decide nothing here. Raises RecipeError for a spec that cannot be built, UsageError
        for a folder that cannot be loaded.
        """
        config = dict(spec.config)
        prefix = config.pop("prefix", None)
        if prefix is not None and not isinstance(prefix, str):
            raise RecipeError(f"[student.config] prefix is a text, got {prefix!r}. Write e.g. prefix = 'answer: '.")
        spec = spec.model_copy(update={"config": config})
        if spec.init is not None:
            network, tokenizer = start_seq2seq(AutoModelForSeq2SeqLM, spec, teacher, dropout=dropout, seed=seed)
        else:
            start = "eos" if config.get("model_type") == "bart" else "pad"
            network, tokenizer = build_network(
                AutoModelForSeq2SeqLM, spec, base_folder, dropout=dropout, seed=seed, example=EXAMPLE, decoder_start=start
            )
            if base_folder is None:
                network.generation_config.forced_eos_token_id = None  # BART's default, another token of this tokenizer
        if prefix is not None:
            network.config.prefix = prefix
        return cls(network, tokenizer)

    @classmethod
    def load(cls, folder: Path) -> Seq2SeqStudent:
        """What `save` wrote, ready to answer. Raises UsageError for a folder that cannot be loaded or could run code."""
        student = cls(load_network(AutoModelForSeq2SeqLM, folder, load_config(folder)), load_tokenizer(folder))
        student.network.eval()
        return student

    # -- chats and token ids ---------------------------------------------------------------------------------------------

    def prompt_ids(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] | None = None) -> list[int]:
        """What the encoder reads. It ends with the end token, as T5 was pretrained. Raises UsageError for content not text."""
        return self._inputs_ids([(messages, tools)])[0]

    def encode(self, examples: Sequence[Example], *, max_tokens: int) -> list[Encoded]:
        """Examples for training, in order: the input's ids, and as targets the answer's and the end token.

        Raises TrainingError that names the example without an answer, RecipeError that names the one whose input and answer
        are above `max_tokens` together, or above the network's positions.
        """
        inputs = self._inputs_ids([(example.messages, example.tools) for example in examples])
        answers = ids_of(self.tokenizer, [example.answer for example in examples])
        return [
            self._paired(example, tokens, answer, max_tokens)
            for example, tokens, answer in zip(examples, inputs, answers, strict=True)
        ]

    def collate(self, rows: Sequence[Encoded]) -> Batch:
        """Padded on the right: the encoder's padding is masked, the decoder's is where causal attention never looks."""
        return collate_seq2seq(rows, pad_id=self.pad_id, start_id=self.start_id)

    def output(self, batch: Batch, *, wanted: Wanted | None = None) -> Output:
        """The decoder's states before the head, one a token of an answer. Inner states, where wanted, are the encoder's."""

        def run() -> Tensor:
            return self._states(batch).flatten(0, 1).index_select(0, batch.positions_N)

        if not wanted:
            return Output(run(), self.head())
        hidden_NH, states = with_states(self.network, wanted, run, real_tokens(batch))
        return Output(hidden_NH, self.head(), states)

    def head(self) -> Head:
        """The last linear layer. T5 multiplies states by 1/sqrt(d_model) before it where its embeddings are tied."""
        head, config = head_of(self.network), self.network.config
        scaled = getattr(config, "scale_decoder_outputs", config.model_type == "umt5")
        bias_1V = getattr(self.network, "final_logits_bias", None)  # BART's, a buffer
        return replace(
            head,
            scale=head.scale * (config.d_model**-0.5 if scaled else 1.0),
            bias_V=head.bias_V if bias_1V is None else bias_1V[0],
        )

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of an answer's ids, without special tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def answer(self, chats: Sequence[Sequence[Message]], *, max_tokens: int = 256) -> list[str]:
        """Greedy answers, one chat after the other, by transformers' own `generate`."""
        return [self._greedy(self.prompt_ids(chat), max_tokens) for chat in chats]

    def _greedy(self, prompt: list[int], max_tokens: int) -> str:
        room = max_tokens if self.max_positions is None else min(max_tokens, self.max_positions - 1)
        tokens_1T = torch.tensor([prompt], device=self.network.device)
        with torch.inference_mode():
            said_1U = self.network.generate(
                input_ids=tokens_1T,
                attention_mask=torch.ones_like(tokens_1T),
                max_new_tokens=room,
                do_sample=False,
                num_beams=1,
                forced_eos_token_id=None,  # BART's: an end after any length
                eos_token_id=self.eos_id,
                pad_token_id=self.pad_id,
                decoder_start_token_id=self.start_id,
            )
        return self.decode(said_1U[0, 1:].tolist())

    def _states(self, batch: Batch) -> Tensor:
        """states_BUH."""
        mask_BT = batch.inputs["attention_mask"]
        read_BTH = self.network.get_encoder()(input_ids=batch.inputs["input_ids"], attention_mask=mask_BT).last_hidden_state
        states_BUH: Tensor = self.network.get_decoder()(
            input_ids=batch.inputs["decoder_input_ids"],
            encoder_hidden_states=read_BTH,
            encoder_attention_mask=mask_BT,
            use_cache=False,
        ).last_hidden_state
        return states_BUH

    def _inputs_ids(self, prompts: Sequence[tuple[Sequence[Message], Sequence[dict[str, Any]] | None]]) -> list[list[int]]:
        prefix = getattr(self.network.config, "prefix", None) or ""
        plain = self.tokenizer.chat_template is None
        texts = [last_user_text(chat) if plain else render(self.tokenizer, chat, tools) for chat, tools in prompts]
        encoded = ids_of(self.tokenizer, [prefix + text for text in texts], special=plain)
        return [ids if ids[-1:] == [self.eos_id] else [*ids, self.eos_id] for ids in encoded]

    def _paired(self, example: Example, tokens: list[int], answer: list[int], max_tokens: int) -> Encoded:
        if not answer:
            raise TrainingError(
                f"The example {example.id} has no token to learn from: its answer is empty. Remove it from the dataset."
            )
        targets = (*answer, self.eos_id)
        length, longest = len(tokens) + len(targets), max(len(tokens), len(targets))
        if length > max_tokens:
            raise RecipeError(
                f"The example {example.id} has {length} tokens, more than training.max_tokens = {max_tokens}. "
                f"Set it to at least {length}, or remove the example: examples are never cut."
            )
        if self.max_positions is not None and longest > self.max_positions:
            raise RecipeError(
                f"The example {example.id} has {longest} tokens on one side, and this network has {self.max_positions} positions "
                "(max_position_embeddings). Remove the example, or take a student with more."
            )
        task = example.metadata.get("task", "")
        return Encoded(example.id, tuple(tokens), len(tokens), example.weight, targets=targets, task=task)


def _settle_start(network: Any, pad_id: int) -> int:
    """What the decoder reads first: the folder's own, or else the padding token, as in T5. Noted for whoever else runs it."""
    given = getattr(network.config, "decoder_start_token_id", None)
    given = network.generation_config.decoder_start_token_id if given is None else given
    start = pad_id if given is None else int(given)
    network.config.decoder_start_token_id = network.generation_config.decoder_start_token_id = start
    return start


def _prove_head(student: Seq2SeqStudent) -> None:
    """States times head must be the network's own scores. Raises UsageError for architectures where they are not."""
    network = student.network
    training = network.training
    row = Encoded("", (student.eos_id,), 1, 1.0, targets=(student.start_id, student.eos_id))
    batch = student.collate([row]).to(network.device)
    network.eval()
    with torch.no_grad():
        own_NV = network(**batch.inputs, use_cache=False).logits[0]
        given_NV = student.output(batch).scores_NV
    network.train(training)
    if own_NV.shape != given_NV.shape or not torch.allclose(own_NV, given_NV, rtol=1e-3, atol=1e-3):
        raise UsageError(
            f"The scores of a '{network.config.model_type}' network are not its last states times its head, so it cannot be "
            "distilled here. T5, mT5, UMT5 and BART can."
        )
