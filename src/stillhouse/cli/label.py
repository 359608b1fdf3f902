"""`stillhouse label`: ask a teacher for the answers to a dataset's or a file's questions."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from stillhouse.cli.output import JsonFlag, Session

app = typer.Typer()


@app.command()
def label(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="A dataset, or a file: .txt (a question a line), chat .jsonl, .csv, .parquet.")],
    model: Annotated[str, typer.Option("--model", help="The teacher: an upstream's model, an alias, or a local model.")],
    out: Annotated[str, typer.Option("--out", help="Name of the dataset that is made.")],
    temperature: Annotated[float | None, typer.Option(min=0, max=2, help="Not sent when not said.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer; a longer one is left out, never cut.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at a time.")] = 8,
    logprobs: Annotated[
        int, typer.Option(min=0, max=20, help="Ask for the likeliest tokens' log-probabilities too, and keep them to learn from.")
    ] = 0,
    json: JsonFlag = False,
) -> None:
    """Every answer is on disk before the next question; killed and started again with the same words, it goes on."""
    from stillhouse.cli.watching import asking
    from stillhouse.jobs.labels import Wish, label_source

    session: Session = ctx.obj
    given: dict[str, Any] = {"temperature": temperature, "max_completion_tokens": max_tokens}
    parameters = {name: value for name, value in given.items() if value is not None}
    wish = Wish(source=source, model=model, out=out, parameters=parameters, concurrency=concurrency, logprobs=logprobs)
    session.workspace.share()
    with asking(session) as progress:
        working = label_source(session.workspace, wish, lambda done, total: progress(model, done, total))
        dataset = asyncio.run(working)
    removed = ", ".join(f"{count} {reason}" for reason, count in dataset.removed.items()) or "nothing"
    session.say(
        f"Dataset {dataset.name} {dataset.fingerprint[:19]}: {sum(dataset.counts.values())} examples. Left out: {removed}."
    )
    session.emit(dataset)
