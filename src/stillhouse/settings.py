"""Where things lie and how the server behaves: environment (`STILLHOUSE_...`) and command line, one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from stillhouse.records import Record

DEFAULT_PORT = 8321
RESOURCES = ("cpu", "gpu", "network")
"""What a run may take; `jobs_<resource>` says how many runs may take it at once."""


class Settings(Record):
    data_dir: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    allowed_hosts: tuple[str, ...] = ()
    """Besides localhost, 127.0.0.1, [::1] and `host`: names the Host header may have."""
    max_body_bytes: int = 32 * 2**20
    max_in_flight_bytes: int = 256 * 2**20
    """Captured bytes held at once; past it a request is answered 503."""
    min_free_bytes: int = 256 * 2**20
    """Free disk below which capture is refused, rather than failing midway."""
    capture: Literal["required", "best_effort"] = "required"
    """`required`: what cannot be kept is not forwarded. `best_effort`: it is, with `x-stillhouse-capture: dropped`."""
    max_file_bytes: int = 512 * 2**20
    """The largest file that can be uploaded in one request."""
    max_upload_bytes: int = 8 * 2**30
    """The largest file that can be uploaded in parts."""
    batch_requests: int = 50_000
    """Requests of one batch."""
    batch_concurrency: int = 32
    """Requests of one batch under way at once, at most: fewer where the upstream does not bear them."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts that webhooks may call though their addresses are not public, by http, too: receivers on one's own network."""
    student_queue: int = 64
    """Requests that may wait for one student; past it 429."""
    student_batch: int = 16
    """Requests answered in one forward pass."""
    embedder: str = ""
    """The model id, of an upstream, whose embeddings the grader metric `cosine` compares; '' for the built-in one."""
    python_graders: bool = True
    """Whether graders that their users wrote in Python run (confined, or not at all)."""
    jobs_cpu: int = 1
    """Runs that may compute at once."""
    jobs_gpu: int = 1
    """Runs on a GPU at once."""
    jobs_network: int = 4
    """Runs at once that mostly wait for other machines: evals, batches, labelling."""
    jobs_executor: str = "local"
    """Where workers run: a key of `stillhouse.jobs.executors.EXECUTORS`."""
    tensorboard: bool = False
    """Whether training writes TensorBoard's event files, too, into each run's folder."""

    @classmethod
    def load(cls, data_dir: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
        """From `STILLHOUSE_DATA_DIR`, `STILLHOUSE_HOST`, ...; an explicit `data_dir` wins."""
        given = {
            name: environ[f"STILLHOUSE_{name.upper()}"] for name in cls.model_fields if environ.get(f"STILLHOUSE_{name.upper()}")
        }
        values: dict[str, object] = {**given, "data_dir": data_dir or given.get("data_dir") or _default_data_dir()}
        for name in ("allowed_hosts", "webhook_hosts"):
            if name in given:
                values[name] = tuple(host.strip() for host in given[name].split(","))
        return cls.model_validate(values)

    @property
    def database(self) -> Path:
        return self.data_dir / "stillhouse.db"

    @property
    def datasets(self) -> Path:
        """A folder a version: `datasets/<hex of the fingerprint>/`."""
        return self.data_dir / "datasets"

    @property
    def artifacts(self) -> Path:
        """A folder a model: `artifacts/<id>/`."""
        return self.data_dir / "artifacts"

    @property
    def runs(self) -> Path:
        """A folder a run: recipe, events, log, checkpoints."""
        return self.data_dir / "runs"

    @property
    def signals(self) -> Path:
        """What teachers said about examples, kept for the runs that learn from it: a folder a teacher and way of keeping."""
        return self.data_dir / "signals"

    @property
    def files(self) -> Path:
        """Content-addressed files."""
        return self.data_dir / "files"

    @property
    def uploads(self) -> Path:
        """What clients uploaded, and what was made for them to download: by content, removed when nobody refers to it."""
        return self.data_dir / "uploads"

    @property
    def prices(self) -> Path:
        """The editable prices file."""
        return self.data_dir / "prices.toml"


def _default_data_dir() -> Path:
    import platformdirs  # only where the default is needed

    return Path(platformdirs.user_data_dir("stillhouse"))
