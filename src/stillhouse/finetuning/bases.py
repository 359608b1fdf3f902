"""What a job's `model` may be: a network shaped here, a model on this machine, one of a hub, or one that an upstream trains.

Names are looked up, never joined to a path: a client cannot name a folder of the server.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from stillhouse.artifact import Artifact
from stillhouse.artifacts import MANIFEST, load_manifest
from stillhouse.errors import NotFoundError, UsageError
from stillhouse.finetuning.hub import looks_like_hub, offered_by_hub
from stillhouse.records import Record
from stillhouse.shipped import BUILTIN, builtin_folder, builtin_models
from stillhouse.workspace import PACKAGE, Workspace

HUB = "hub:"
"""Prefix of a base that lies on the hub, until the run has fetched it."""


class Base(Record):
    """What a job starts from."""

    name: str
    """As it is called in the job's `model`."""
    student: dict[str, Any]
    """The recipe's `[student]` table."""
    parameters: int
    """About how many numbers are trained; decides the learning rate."""
    pretrained: bool
    upstream: str | None = None
    """Name of the upstream that trains it, instead of this machine."""


class Architecture(NamedTuple):
    """A network that comes without weights."""

    student: dict[str, Any]
    parameters: int
    """About."""
    about: str


def _llama(width: int, layers: int, heads: int, positions: int) -> dict[str, Any]:
    return {
        "kind": "causal",
        "tokenizer": f"{BUILTIN}bytes",
        "config": {
            "model_type": "llama",
            "hidden_size": width,
            "intermediate_size": width * 8 // 3 // 8 * 8,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "max_position_embeddings": positions,
            "tie_word_embeddings": True,
        },
    }


ARCHITECTURES: dict[str, Architecture] = {
    "stillhouse/tiny-llama": Architecture(_llama(64, 2, 4, 2048), 120_000, "a decoder of 2 layers of 64; a token is a byte"),
    "stillhouse/small-llama": Architecture(_llama(256, 6, 8, 4096), 4_900_000, "a decoder of 6 layers of 256; a token is a byte"),
    "stillhouse/linear": Architecture({"kind": "linear"}, 100_000, "a linear classifier: words, characters, logistic regression"),
    "stillhouse/tiny-encoder": Architecture(
        {
            "kind": "encoder",
            "tokenizer": f"{BUILTIN}bytes",
            "config": {
                "architecture": "compact",
                "embedding_size": 64,
                "hidden_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "intermediate_size": 256,
                "norm": "pre",
                "max_position_embeddings": 512,
                "max_length": 512,
            },
        },
        300_000,
        "a classifier: an encoder of 2 layers of 128; a token is a byte",
    ),
}
"""What can be fine-tuned by whoever has no weights at all."""


def find_base(workspace: Workspace, name: str) -> Base:
    """What `name` stands for. Raises NotFoundError, which says what there is; UsageError for what cannot be started from."""
    shaped = ARCHITECTURES.get(name)
    if shaped is not None:
        return Base(name=name, student=shaped.student, parameters=shaped.parameters, pretrained=False)
    local = local_model(workspace, name)
    if local is not None:
        return _from_weights(name, local)
    for upstream in workspace.store.upstreams():
        if name in upstream.models:
            return _trained_there(name, upstream.name)
    if looks_like_hub(name):
        offered_by_hub(name)
        return Base(name=name, student={"kind": "causal", "base": f"{HUB}{name}"}, parameters=10**9, pretrained=True)
    for upstream in workspace.store.upstreams():
        if not upstream.models:
            return _trained_there(name, upstream.name)
    raise NotFoundError(
        f"The model '{name[:80]}' does not exist, or cannot be fine-tuned. There are: {', '.join(_known())}; models that were "
        "entered with 'stillhouse models add'; those of upstreams that fine-tune; and ids of the Hugging Face hub."
    )


def local_model(workspace: Workspace, name: str) -> tuple[str, Artifact] | None:
    """A model on this machine by id, alias, `ft:...`, the name it was entered under, or `builtin:NAME`: its id and manifest."""
    if name.startswith(BUILTIN):
        folder = builtin_folder(name.removeprefix(BUILTIN))
        return (name, load_manifest(folder)) if (folder / MANIFEST).is_file() else None
    store = workspace.store
    aliases = {route.alias: route.model for route in store.routes()}
    wanted = aliases.get(name, name)
    if wanted != name and wanted.startswith(BUILTIN):
        return local_model(workspace, wanted)
    found = store.artifact(wanted)
    if found is None:
        named = [artifact for artifact in store.artifacts() if artifact.name == wanted]
        found = max(named, key=lambda artifact: artifact.created, default=None)
    return None if found is None else (found.id, found)


def local_name(workspace: Workspace, name: str, what: str) -> str:
    """A model on this machine by the name that recipes take. Raises NotFoundError for any other, folders included."""
    if name.startswith((PACKAGE, BUILTIN)):
        workspace.model_folder(name)
        return name
    local = local_model(workspace, name)
    if local is None:
        raise NotFoundError(f"The {what} '{name[:80]}' is not on this machine. See what is: GET /v1/models")
    return local[0]


def _from_weights(name: str, local: tuple[str, Artifact]) -> Base:
    identifier, artifact = local
    if artifact.kind == "linear":
        raise UsageError(f"'{name}' is a linear classifier, which starts from nothing: fine-tune 'stillhouse/linear'.")
    student: dict[str, Any] = {"kind": artifact.kind, "base": identifier}
    return Base(name=name, student=student, parameters=artifact.parameters, pretrained=True)


def _trained_there(name: str, upstream: str) -> Base:
    return Base(name=name, student={"kind": "causal"}, parameters=0, pretrained=True, upstream=upstream)


def _known() -> list[str]:
    return [*ARCHITECTURES, *(f"{BUILTIN}{folder.name}" for folder in builtin_models())]
