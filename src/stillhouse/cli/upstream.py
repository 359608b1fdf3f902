"""`stillhouse upstream`: the teachers, named servers that speak OpenAI's API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table, when
from stillhouse.errors import ConflictError, NotFoundError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.upstream import Upstream

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Letters, digits, dot, dash, underscore.")],
    base_url: Annotated[str, typer.Option("--base-url", help="With the version, as OpenAI's SDK takes it: https://host/v1.")],
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="VAR", help="Environment variable of the server that holds the key.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model it answers for; repeat. None: every name nobody else claims.")
    ] = None,
    may_train: Annotated[str, typer.Option("--may-train", help="Do its terms allow training on its answers? yes|no")] = "yes",
    reason: Annotated[str, typer.Option("--reason", help="With --may-train no: the clause that forbids it.")] = "",
    retries: Annotated[int, typer.Option("--retries", min=0, max=10, help="Ask again after 429 and 5xx, so often.")] = 0,
    tokenizer: Annotated[
        str | None,
        typer.Option("--tokenizer", metavar="FOLDER", help="Its models' tokenizer.json: to learn from its answers' logprobs."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Name a server that answers chat requests. Its key stays in the environment: it is never kept."""
    from stillhouse.upstream import Upstream

    session: Session = ctx.obj
    store = session.workspace.store
    if any(upstream.name == name for upstream in store.upstreams()):
        raise ConflictError(f"There is an upstream '{name}' already. Take it away first: stillhouse upstream remove {name}")
    upstream = Upstream(
        name=name,
        base_url=base_url,
        api_key_env=api_key_env,
        models=tuple(model or ()),
        may_train=_terms(may_train, reason),
        max_retries=retries,
        tokenizer=None if tokenizer is None else _tokenizer_folder(tokenizer),
        created=int(time.time()),
    )
    store.put_upstream(upstream).result()
    session.emit(upstream, lambda: _table([upstream]))
    session.say(f"Ask whether it answers: stillhouse upstream test {name}")


@app.command("list")
def list_(ctx: typer.Context, json: JsonFlag = False) -> None:
    """Every upstream."""
    session: Session = ctx.obj
    upstreams = session.workspace.store.upstreams()
    session.emit(upstreams, lambda: _table(upstreams))


@app.command()
def test(ctx: typer.Context, name: str, json: JsonFlag = False) -> None:
    """Ask the upstream for its models: is it there, and does it take the key? Costs nothing."""
    import asyncio

    session: Session = ctx.obj
    upstream = _find(session, name)
    began = time.perf_counter()
    models = asyncio.run(_ask(upstream))
    result = {"name": name, "ok": True, "milliseconds": round((time.perf_counter() - began) * 1000, 1), "models": models}
    missing = sorted(set(upstream.models) - set(models))
    session.emit(result)
    if missing:
        session.say(f"It does not list: {', '.join(missing)}.")


@app.command()
def remove(ctx: typer.Context, name: str, json: JsonFlag = False) -> None:
    """Forget an upstream. What was captured from it stays."""
    session: Session = ctx.obj
    upstream = _find(session, name)
    store = session.workspace.store
    store.delete_upstream(name).result()
    session.emit({"name": name, "removed": True})
    for route in store.routes():
        if route.model in upstream.models:
            session.say(f"The alias '{route.alias}' pointed at its model '{route.model}' and answers no more.")


def _find(session: Session, name: str) -> Upstream:
    upstreams = session.workspace.store.upstreams()
    for upstream in upstreams:
        if upstream.name == name:
            return upstream
    raise NotFoundError(f"There is no upstream '{name}'. There are: {', '.join(u.name for u in upstreams) or 'none'}.")


async def _ask(upstream: Upstream) -> list[str]:
    from stillhouse.models.openai import OpenAIModel

    model = OpenAIModel(upstream)
    try:
        return await model.list_models()
    finally:
        await model.close()


def _tokenizer_folder(given: str) -> str:
    folder = Path(given).absolute()
    if not (folder / "tokenizer.json").is_file():
        raise UsageError(
            f"--tokenizer: there is no tokenizer.json in {folder}. Give the folder of a model as transformers saves it."
        )
    return str(folder)


def _terms(may_train: str, reason: str) -> str:
    if may_train not in ("yes", "no"):
        raise UsageError(f"--may-train is yes or no, got '{may_train}'.")
    if may_train == "no" and not reason:
        raise UsageError("--may-train no needs a reason, for every dataset made from it: --reason 'Terms of Use, clause ...'")
    if may_train == "yes" and reason:
        raise UsageError("--reason goes with --may-train no.")
    return f"no: {reason}" if may_train == "no" else "yes"


def _table(upstreams: list[Upstream]) -> Table:
    table = new_table("name", "base url", "key from", "models", "may train", "since")
    for item in upstreams:
        key = f"${item.api_key_env}" if item.api_key_env else "-"
        models = ", ".join(item.models) or "(any)"
        table.add_row(item.name, item.base_url, key, models, item.may_train, when(item.created))
    return table
