"""`stillhouse models`: the students that were made, and models brought in from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table, plain, when

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_(ctx: typer.Context, json: JsonFlag = False) -> None:
    """Every model, newest first."""
    session: Session = ctx.obj
    artifacts = sorted(session.workspace.store.artifacts(), key=lambda artifact: artifact.id, reverse=True)
    table = new_table("model", "kind", ">parameters", ">bytes", "teacher", "made")
    for artifact in artifacts:
        numbers = f"{artifact.parameters:,}", f"{artifact.size_bytes:,}"
        table.add_row(artifact.id, artifact.kind, *numbers, plain(artifact.teacher or "-"), when(artifact.created))
    session.emit(artifacts, lambda: table)


@app.command()
def add(
    ctx: typer.Context,
    folder: Annotated[str, typer.Argument(help="A folder as transformers saves it, an exported model, or builtin:NAME.")],
    name: Annotated[str | None, typer.Option("--name", help="For people; the model's id is made of its content.")] = None,
    json: JsonFlag = False,
) -> None:
    """Copy a model in, so that it can be served, routed to, evaluated, or be a teacher with all its scores."""
    session: Session = ctx.obj
    workspace = session.workspace
    artifact = workspace.add_model(workspace.model_folder(folder), name=name)
    session.say(f"The model is {artifact.id}. Serve it under a name with: stillhouse route set ALIAS --model {artifact.id}")
    session.emit(artifact)


@app.command()
def show(ctx: typer.Context, model: str, json: JsonFlag = False) -> None:
    """One model's lineage: recipe, data, teacher, terms, measurements."""
    session: Session = ctx.obj
    session.emit(session.workspace.artifact(model))


@app.command()
def remove(
    ctx: typer.Context,
    model: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, only say whether it could be done.")] = False,
    json: JsonFlag = False,
) -> None:
    """Take a model away for good, its files too. Refused while an alias leads to it, or a run that is not over needs it."""
    from stillhouse.jobs.removing import removable_model, remove_model

    session: Session = ctx.obj
    found = (remove_model if yes else removable_model)(session.workspace, model)
    if not yes:
        session.say(f"{found.id} would be removed, {found.size_bytes:,} bytes. Add --yes to do it.")
    session.emit({"model": found.id, "removed": yes})


@app.command()
def export(
    ctx: typer.Context,
    model: str,
    out: Annotated[Path, typer.Option("--out", help="A new or empty folder.")],
    json: JsonFlag = False,
) -> None:
    """Copy a model's files out, with a model card (README.md) and everything it was made from (run.json)."""
    from stillhouse.cards import export_model

    session: Session = ctx.obj
    workspace = session.workspace
    artifact = workspace.artifact(model)
    files = export_model(artifact, workspace.artifact_folder(artifact.id), workspace.store.reports(), out)
    session.say(f"{model} is in {out}: {len(files)} files.")
    session.emit({"model": artifact.id, "folder": str(out), "files": files})
