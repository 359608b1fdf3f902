"""A narrower network from a wider one: which columns, heads and neurons are kept, and the weights cut to them.

Importance of a channel: root mean square of what flows through it on some texts, times the norm of the weights that read it
(Sun et al. 2023, Wanda), summed over its readers. One set of columns is kept through the whole residual stream; heads are kept
whole. A student of the teacher's own sizes is the teacher, number for number. Which layers there are is `layers.py`'s affair.

Shapes: H width, A heads, F neurons; C channels that a weight reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.students.initialising.anatomy import Family, family_of, layer_of, roles_of


@dataclass(frozen=True)
class Heads:
    """How a network's attention is divided."""

    queries: int
    keys: int
    """Groups of queries share keys and values (grouped-query attention); else as many."""
    width: int

    @classmethod
    def of(cls, config: Any) -> Heads:
        queries = int(config.num_attention_heads)
        width = getattr(config, "head_dim", None) or int(config.hidden_size) // queries
        return cls(queries, int(getattr(config, "num_key_value_heads", None) or queries), int(width))


@dataclass
class Importance:
    """Of every channel that can be cut."""

    width_H: Tensor
    heads: dict[int, Tensor] = field(default_factory=dict)
    """Layer -> one number a channel of what the heads give."""
    ffn: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """Which channels are kept, of the teacher's."""

    width: Tensor
    heads: Mapping[int, Tensor]
    kv: Mapping[int, Tensor]
    ffn: Mapping[int, Tensor]
    vocabulary: Tensor | None = None

    def of(self, role: str, layer: int | None, have: int, want: int) -> Tensor | None:
        """Places along an axis of `have`, of which `want` are kept; None where it cannot be said: the weight stays random."""
        if role == "vocabulary":
            places = torch.arange(have) if self.vocabulary is None else self.vocabulary
        elif role == "width":
            places = self.width
        elif role == "positions":
            places = torch.arange(min(have, want))
        elif role == "heads3" and layer is not None:
            places = torch.cat([self.heads[layer] + part * (have // 3) for part in range(3)])
        elif role in ("heads", "kv", "ffn") and layer is not None:
            places = {"heads": self.heads, "kv": self.kv, "ffn": self.ffn}[role][layer]
        else:
            places = torch.arange(have)
        return places if len(places) == want else None


def measure(network: Any, run: Callable[[], None] | None) -> Importance:
    """`run` puts texts through the network; without it the weights alone decide."""
    family = family_of(network.config.model_type)
    flow: dict[str, Tensor] = {}
    readers = {
        name: module
        for name, module in network.named_modules()
        if getattr(getattr(module, "weight", None), "dim", int)() == 2 and not isinstance(module, torch.nn.Embedding)
    }
    if run is not None:
        with ExitStack() as hooks, torch.no_grad():
            for name, module in readers.items():
                hooks.callback(module.register_forward_pre_hook(_listen(flow, name)).remove)
            run()
    found = Importance(torch.zeros(int(network.config.hidden_size)))
    for name, module in readers.items():
        _add(found, family, f"{name}.weight", module, flow.get(name))
    return found


def _listen(flow: dict[str, Tensor], name: str) -> Callable[[Any, tuple[Tensor, ...]], None]:
    def hook(module: Any, given: tuple[Tensor, ...]) -> None:
        squares_C = given[0].detach().float().square().flatten(0, -2).sum(dim=0)
        flow[name] = flow[name] + squares_C if name in flow else squares_C

    return hook


def _add(found: Importance, family: Family, name: str, module: Any, flow_C: Tensor | None) -> None:
    """What one linear map says about the channels it reads."""
    read = 0 if type(module).__name__ == "Conv1D" else 1
    role, layer = roles_of(family, name)[read], layer_of(family, name)
    strength_C = module.weight.detach().float().norm(dim=1 - read)
    if flow_C is not None:
        strength_C = strength_C * flow_C.sqrt()
    if role == "width":
        found.width_H += strength_C / strength_C.mean().clamp(min=1e-12)  # each reader counts as much
    elif role == "heads" and layer is not None:
        found.heads[layer] = strength_C
    elif role == "ffn" and layer is not None:
        found.ffn[layer] = strength_C


def keep(
    importance: Importance, teacher: Heads, student: Heads, *, width: int, ffn: int, vocabulary: Tensor | None = None
) -> Kept:
    """The most important channels, in their own order. Raises RecipeError where heads do not fit whole."""
    if student.width != teacher.width or teacher.queries * student.keys != student.queries * teacher.keys:
        raise RecipeError(
            f"Heads are kept whole. The teacher's are {teacher.width} wide, {teacher.queries // teacher.keys} to a key; "
            f"the student's would be {student.width} wide, {student.queries / student.keys:g} to a key. "
            f"Set [student.config] num_attention_heads to hidden_size / {teacher.width}."
        )
    heads, kv = {}, {}
    for layer, strength_C in importance.heads.items():
        groups = strength_C.square().reshape(teacher.keys, -1).sum(dim=1)
        best = _best(groups, student.keys, "key heads")
        heads[layer] = _whole(best, len(strength_C) // teacher.keys)
        kv[layer] = _whole(best, teacher.width)
    neurons = {layer: _best(strength_C, ffn, "neurons (intermediate_size)") for layer, strength_C in importance.ffn.items()}
    return Kept(_best(importance.width_H, width, "columns (hidden_size)"), heads, kv, neurons, vocabulary)


def cut(teacher: Any, student: Any, layers: tuple[int, ...], kept: Kept) -> list[str]:
    """Copy the teacher's weights, cut, into the student, in place. Returns the names of those that stay as they were."""
    family = family_of(teacher.config.model_type)
    theirs = {_bare(teacher, name): parameter.detach() for name, parameter in teacher.named_parameters()}
    left = []
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            own = layer_of(family, name)
            layer = None if own is None else layers[own]
            source = theirs.get(_bare(student, name) if own is None else _in_layer(family, _bare(student, name), layers[own]))
            taken = None if source is None else _cut(source, parameter.shape, roles_of(family, name), layer, kept)
            if taken is None:
                left.append(name)
            else:
                parameter.copy_(taken)
    return left


def _cut(weight: Tensor, shape: torch.Size, roles: tuple[str, ...], layer: int | None, kept: Kept) -> Tensor | None:
    for axis, role in enumerate(roles):
        places = kept.of(role, layer, weight.shape[axis], shape[axis])
        if places is None:
            return None
        weight = weight.index_select(axis, places.to(weight.device))
    return weight


def _best(strength_C: Tensor, count: int, what: str) -> Tensor:
    if count > len(strength_C):
        raise RecipeError(
            f"The student would have {count} {what} and its teacher has {len(strength_C)}. It can be narrower, not wider."
        )
    return strength_C.topk(count).indices.sort().values


def _whole(groups: Tensor, width: int) -> Tensor:
    """Channels of these groups of `width` each."""
    return (groups[:, None] * width + torch.arange(width)).flatten()


def _bare(network: Any, name: str) -> str:
    """The name within the body: a network with a head calls its body by its family's name."""
    return name.removeprefix(f"{getattr(network, 'base_model_prefix', '')}.")


def _in_layer(family: Family, name: str, layer: int) -> str:
    return re.sub(rf"((?:^|\.){re.escape(family.layers)}\.)\d+\.", rf"\g<1>{layer}.", name, count=1)
