"""Inner states, against what transformers gives itself: hidden states, and attention through the eager path's softmax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BertConfig,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    MPNetConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
    T5Config,
    UMT5Config,
)

from stillhouse.dataset import Example
from stillhouse.errors import UsageError
from stillhouse.students.causal import CausalStudent
from stillhouse.students.networks.compact import Compact, CompactShape
from stillhouse.students.networks.readers import Mean
from stillhouse.students.states import FAMILIES, real_tokens, shape_of, with_states
from stillhouse.tensors import Batch, Wanted
from tests.students.tiny import tiny_spec, write_tokenizer

torch.set_num_threads(1)

ALL = Wanted(hidden=True, attention=True, relations=frozenset({"queries", "keys", "values"}), pooled=True)
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 50}
BERT = BertConfig(**SIZES)
LLAMA = LlamaConfig(**SIZES, num_key_value_heads=2)
CONFIGS = {
    "bart": BartConfig(d_model=32, encoder_ffn_dim=48, encoder_layers=3, encoder_attention_heads=4, vocab_size=50),
    "bert": BERT,
    "distilbert": DistilBertConfig(dim=32, hidden_dim=48, n_layers=3, n_heads=4, vocab_size=50),
    "gpt2": GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=50, scale_attn_by_inverse_layer_idx=True),
    "llama": LLAMA,
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=2),
    "t5": T5Config(d_model=32, d_kv=16, d_ff=48, num_layers=3, num_heads=4, vocab_size=50),
    "umt5": UMT5Config(d_model=32, d_kv=16, d_ff=48, num_layers=3, num_heads=4, vocab_size=50),
}
WITHOUT_SCORES = {
    "mpnet": MPNetConfig(**SIZES),
    "qwen3": Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=8),
    "qwen2": Qwen2Config(**SIZES, num_key_value_heads=2, use_sliding_window=True, sliding_window=4, max_window_layers=0),
}


def made(config: Any, *, attention: str = "sdpa") -> Any:
    """The network of `config` with the same weights every time."""
    torch.manual_seed(0)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModel
    return kind.from_config(config, attn_implementation=attention).eval()


def inputs() -> dict[str, torch.Tensor]:
    """Three texts of 7, 5 and 1 tokens."""
    generator = torch.Generator().manual_seed(1)
    tokens_BT = torch.randint(3, 50, (3, 7), generator=generator)
    return {"input_ids": tokens_BT, "attention_mask": (torch.arange(7) < torch.tensor([[7], [5], [1]])).long()}


def body(network: Any) -> Any:
    return network.get_encoder() if network.config.is_encoder_decoder else network


def states_of(network: Any, wanted: Wanted = ALL) -> tuple[Any, Any]:
    given = inputs()
    return with_states(network, wanted, lambda: body(network)(**given), given["attention_mask"].bool())


@pytest.mark.parametrize("name", CONFIGS)
def test_hidden_states_are_transformers_own(name: str) -> None:
    network = made(CONFIGS[name])
    _, states = states_of(network)
    expected = body(network)(**inputs(), output_hidden_states=True).hidden_states
    assert len(states.hidden) == len(expected) == 4
    assert shape_of(network) == (3, 32)
    for got_BTH, expected_BTH in zip(states.hidden, expected, strict=True):
        torch.testing.assert_close(got_BTH, expected_BTH)


@pytest.mark.parametrize("name", CONFIGS)
def test_scores_under_sdpa_are_what_the_eager_softmax_takes(name: str) -> None:
    _, states = states_of(made(CONFIGS[name]))
    eager = body(made(CONFIGS[name], attention="eager"))(**inputs(), output_attentions=True).attentions
    real_B1TT = states.mask_BT[:, None, :, None].expand(-1, 4, -1, 7)
    assert len(states.scores) == 3
    for scores_BATT, expected_BATT in zip(states.scores, eager, strict=True):
        torch.testing.assert_close(scores_BATT.softmax(dim=-1)[real_B1TT], expected_BATT[real_B1TT])


@pytest.mark.parametrize("name", CONFIGS)
def test_projections_have_their_own_number_of_heads(name: str) -> None:
    _, states = states_of(made(CONFIGS[name]))
    heads = 2 if name in {"llama", "qwen2"} else 4
    width = 16 if name in {"t5", "umt5"} else 8
    assert [value.shape for value in states.queries] == [(3, 4, 7, width)] * 3
    assert [value.shape for value in states.keys] == [value.shape for value in states.values] == [(3, heads, 7, width)] * 3


def test_the_fused_projection_of_gpt2_is_cut_where_the_network_cuts_it() -> None:
    network = made(CONFIGS["gpt2"])
    _, states = states_of(network)
    flat_BTX = network.h[1].attn.c_attn(network.h[1].ln_1(states.hidden[1]))
    for part, expected_BTH in zip((states.queries, states.keys, states.values), flat_BTX.split(32, dim=-1), strict=True):
        torch.testing.assert_close(part[1].transpose(1, 2).flatten(2), expected_BTH)


def test_pooled_is_the_mean_over_real_tokens() -> None:
    _, states = states_of(made(BERT), Wanted(pooled=True))
    assert states.hidden == ()
    _, whole = states_of(made(BERT), Wanted(hidden=True))
    torch.testing.assert_close(states.pooled_BH[1], whole.hidden[-1][1, :5].mean(dim=0))


def test_only_what_is_wanted_is_there() -> None:
    _, states = states_of(made(BERT), Wanted(relations=frozenset({"values"})))
    assert len(states.values) == 3
    assert not (states.hidden or states.queries or states.keys or states.scores) and states.pooled_BH is None


def test_padding_does_not_enter_the_states() -> None:
    network = made(BERT)
    _, before = states_of(network)
    given = inputs()
    other = {**given, "input_ids": torch.where(given["attention_mask"] == 1, given["input_ids"], 49)}
    _, after = with_states(network, ALL, lambda: network(**other), given["attention_mask"].bool())
    real_BT = before.mask_BT
    for a, b in zip(before.hidden, after.hidden, strict=True):
        torch.testing.assert_close(a[real_BT], b[real_BT])
    assert before.pooled_BH is not None and after.pooled_BH is not None
    torch.testing.assert_close(before.pooled_BH, after.pooled_BH)


def hooks_of(network: Any) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_hooks_are_removed_also_after_an_error() -> None:
    network = made(LLAMA)
    own = hooks_of(network)
    states_of(network)
    assert hooks_of(network) == own
    with pytest.raises(ZeroDivisionError):
        with_states(network, ALL, lambda: 1 // 0, inputs()["attention_mask"].bool())
    assert hooks_of(network) == own


def test_the_result_is_what_it_is_without_listening() -> None:
    network = made(LLAMA)
    result, _ = states_of(network)
    assert torch.equal(result.last_hidden_state, network(**inputs()).last_hidden_state)


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_gradient_checkpointing_leaves_the_states_gradients_as_they_are(name: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        network = made(CONFIGS[name]).train()
        network.config.use_cache = False
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            network.activation_checkpointing_enable({"use_reentrant": False})
        _, states = states_of(network)
        seen = states.scores[1][torch.isfinite(states.scores[1])]
        total = states.hidden[2].square().sum() + seen.square().sum() + states.values[0].square().sum()
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        gradients.append(torch.autograd.grad(total, parameters, allow_unused=True))
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", WITHOUT_SCORES)
def test_scores_that_queries_and_keys_alone_do_not_make_are_refused_with_what_works(name: str) -> None:
    network = made(WITHOUT_SCORES[name], attention="eager")
    with pytest.raises(UsageError, match="relations"):
        states_of(network)
    _, states = states_of(network, Wanted(hidden=True, relations=frozenset({"queries", "keys", "values"})))
    assert len(states.hidden) == 4 and len(states.queries) == 3


def test_an_unknown_architecture_is_refused_and_the_known_ones_are_listed() -> None:
    network = made(OPTConfig(hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=50))
    with pytest.raises(UsageError, match="'opt' networks are not known, only of: bart, bert, .*llama") as caught:
        states_of(network)
    assert all(family in str(caught.value) for family in FAMILIES)


def test_a_network_with_a_head_on_it_gives_the_states_of_its_body() -> None:
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(LLAMA).eval()
    given = inputs()
    _, states = with_states(network, ALL, lambda: network(**given), given["attention_mask"].bool())
    torch.testing.assert_close(states.hidden[-1], network.model(**given).last_hidden_state)


def test_the_compact_network_is_listened_to_like_any_other() -> None:
    torch.manual_seed(0)
    network: Any = Compact(CompactShape(vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4), 5).eval()
    given, attended = inputs(), []
    for layer in network.layers:
        layer.attention.output.register_forward_pre_hook(lambda _, read: attended.append(read[0]))
    result, states = with_states(network, ALL, lambda: network(given), given["attention_mask"].bool())
    assert shape_of(network) == (3, 32)
    torch.testing.assert_close(states.pooled_BH, result)
    for scores_BATT, values_BATD, read_BTH in zip(states.scores, states.values, attended, strict=True):
        torch.testing.assert_close((scores_BATT.softmax(dim=-1) @ values_BATD).transpose(1, 2).flatten(2), read_BTH)


def test_a_reader_is_looked_into() -> None:
    assert shape_of(Mean(made(BERT), 5)) == (3, 32)


def test_real_tokens_of_a_decoder_end_with_the_last_label() -> None:
    tokens_BT = torch.zeros((2, 5), dtype=torch.int64)
    batch = Batch(
        ("a", "b"),
        {"input_ids": tokens_BT},
        positions_N=torch.tensor([1, 2, 3, 5]),  # the first row's labels stand at 2, 3, 4, the second's at 1
        targets_N=torch.zeros(4, dtype=torch.int64),
        weights_N=torch.ones(4),
        owners_N=torch.tensor([0, 0, 0, 1]),
        real_tokens=7,
    )
    assert real_tokens(batch).tolist() == [[True] * 5, [True, True, False, False, False]]


def test_a_causal_student_gives_its_states_beside_its_rows(tmp_path: Path) -> None:
    spec = tiny_spec(write_tokenizer(tmp_path / "tokenizer"))
    student = CausalStudent.build(spec)
    student.network.eval()
    example = Example(id="a", messages=[{"role": "user", "content": "1+1"}], answer="2", split="train")
    longer = example.model_copy(update={"id": "b", "answer": "the answer is 2"})
    batch = student.collate(student.encode([example, longer], max_tokens=64))
    plain, listened = student.output(batch), student.output(batch, wanted=ALL)
    assert torch.equal(listened.hidden_NH, plain.hidden_NH)
    assert plain.states is None and listened.states is not None
    assert int(listened.states.mask_BT.sum()) == batch.real_tokens
    last_BTH = listened.states.hidden[-1]
    torch.testing.assert_close(last_BTH.flatten(0, 1)[batch.positions_N], plain.hidden_NH)


def test_packed_rows_are_refused_with_what_works() -> None:
    one_N = torch.zeros(1, dtype=torch.int64)
    batch = Batch(("a", "b"), {"input_ids": torch.zeros((1, 5), dtype=torch.int64)}, one_N, one_N, torch.ones(1), one_N, 5)
    with pytest.raises(UsageError, match="pack = false"):
        real_tokens(batch)
