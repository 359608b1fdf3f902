"""Networks that read a text and end in one linear layer: each gives the states that this layer reads, and the layer itself.

`Plain` is a transformers network with a head of its own (what `AutoModelForSequenceClassification` makes), kept whole, so that
it is saved as such. `Mean` is a transformers body, the mean of its states over real tokens (as sentence encoders do), a layer.

Shapes: B examples, T positions, H width, V scores; one state an example, or one a position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor, nn
from transformers import PreTrainedModel

from stillhouse.errors import UsageError


class Reader(nn.Module):
    """`forward(inputs)` gives the states before `last`: BxH, or BxTxH where tokens are labelled."""

    body: Any
    """What inner states are asked of."""
    last: nn.Linear

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        """On a CPU a transformers body learns with plain products: the fused kernel's backward pass is several times slower."""
        if isinstance(self.body, PreTrainedModel) and self.body.config._attn_implementation in ("sdpa", "eager"):
            plain = mode and self.body.device.type == "cpu"
            self.body.set_attn_implementation("eager" if plain or not self.body._supports_sdpa else "sdpa")
        return super().train(mode)


class Plain(Reader):
    """A transformers network with its own head."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.body = network
        self._last_name = _last_linear(network)

    @property
    def last(self) -> nn.Linear:  # type: ignore[override]  # the network's own, not a second parameter
        layer: nn.Linear = self.body.get_submodule(self._last_name)
        return layer

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What reaches the last layer, listened to: each architecture has its own steps before it."""
        reached: list[Tensor] = []
        handle = self.last.register_forward_pre_hook(lambda _, given: reached.append(given[0]))
        try:
            self.body(**inputs)
        finally:
            handle.remove()
        return reached[0]


class Mean(Reader):
    """A transformers body, the mean of its states over real tokens, a linear layer."""

    def __init__(self, body: Any, size: int) -> None:
        super().__init__()
        if getattr(body, "pooler", None) is not None:
            body.pooler = None  # it reads the first token alone, and nobody would train it
        self.body = body
        self.last = nn.Linear(body.config.hidden_size, size)
        nn.init.normal_(self.last.weight, std=float(getattr(body.config, "initializer_range", 0.02)))
        nn.init.zeros_(self.last.bias)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return mean_of_tokens(self.body(**inputs).last_hidden_state, inputs["attention_mask"])


def mean_of_tokens(states_BTH: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over real tokens, BxH."""
    mask_BT1 = mask_BT[..., None].to(states_BTH.dtype)
    return (states_BTH * mask_BT1).sum(dim=1) / mask_BT1.sum(dim=1).clamp(min=1)


def _last_linear(network: Any) -> str:
    """The name of the layer that makes the scores: the last linear one outside of the body."""
    body = f"{network.base_model_prefix}."
    names = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(body) and module.out_features == network.config.num_labels
    ]
    if not names:
        raise UsageError(
            f"A '{network.config.model_type}' network has no linear layer that scores labels and cannot be distilled."
        )
    return str(names[-1])
