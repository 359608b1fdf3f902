"""What to label next, by name: the pool, what is labelled already, the student that is asked, the file that the picks go into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stillhouse.apply import Journal, Outcome
from stillhouse.curation.selecting import Opinions, Selection, Wanted, asking, select
from stillhouse.errors import UsageError
from stillhouse.files import write_atomic
from stillhouse.grading import ForwardedEmbedder
from stillhouse.jobs.questions import find_questions
from stillhouse.records import canonical_json, fingerprint
from stillhouse.workspace import Workspace


async def choose_next(
    workspace: Workspace,
    source: str,
    out: Path,
    wanted: Wanted,
    *,
    student: str | None = None,
    already: Sequence[str] = (),
    embedder: str | None = None,
    concurrency: int = 8,
    max_tokens: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """Write the picks of `source` to `out`: chat JSONL, which `label` reads, each with its rank, score and reason as metadata.

    Of a dataset the train split is the pool; what its valid and test ask, or those of `already`, is never picked. Killed and
    started again with the same words, it asks the student nothing twice. Raises UsageError, NotFoundError, UpstreamError.
    """
    if out.exists():
        raise UsageError(f"{out} is there already. Name another file, or remove it.")
    examples = list(find_questions(workspace, source))
    known = [each for name in already for each in find_questions(workspace, name)]
    pool = [each for each in examples if each.split == "train"]
    held_out = [each for each in [*examples, *known] if each.split != "train"]
    labelled = [each for each in known if each.split == "train"]
    if not pool:
        raise UsageError(f"{source} holds no question to choose from.")
    vectors = None if embedder is None else ForwardedEmbedder(workspace.target, embedder, closes=True)

    async def picked(ask: Opinions | None) -> Selection:
        return await select(wanted, pool, labelled=labelled, held_out=held_out, ask=ask, embedder=vectors)

    if student is None:
        selection = await picked(None)
        write_atomic(out, _lines(selection))
        return selection
    target = workspace.target(student)
    digest = fingerprint(canonical_json([source, student, max_tokens])).removeprefix("sha256:")[:32]
    try:
        with Journal(workspace.settings.data_dir / "labels" / f"next-{digest}.jsonl", Outcome) as journal:
            seen = {outcome.key: outcome for outcome in journal.items()}
            ask = asking(
                target.model,
                target.name,
                concurrency=concurrency,
                max_tokens=max_tokens,
                seen=seen,
                keep=journal.add,
                progress=progress,
            )
            selection = await picked(ask)
            write_atomic(out, _lines(selection))
            journal.drop()
    finally:
        await target.model.close()
    return selection


def _lines(selection: Selection) -> bytes:
    lines = []
    for rank, each in enumerate(selection.chosen, start=1):
        metadata = {"rank": str(rank), "by": selection.by, "score": f"{each.score:.6g}", "reason": each.reason}
        metadata |= {} if each.source is None else {"source": each.source}
        row = {"messages": each.messages, "metadata": metadata, **({"tools": each.tools} if each.tools else {})}
        lines.append(canonical_json(row) + b"\n")
    return b"".join(lines)
