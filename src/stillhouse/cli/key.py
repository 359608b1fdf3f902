"""`stillhouse key`: who may call the gateway. From the first key on, every request needs one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session, new_table, when
from stillhouse.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from rich.table import Table

    from stillhouse.keys import Key

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    ctx: typer.Context, name: Annotated[str, typer.Argument(help="Who or what will use it.")], json: JsonFlag = False
) -> None:
    """Make a key. It is shown this once; only its hash is kept."""
    from stillhouse.ids import new_id
    from stillhouse.keys import PREFIX, Key, hash_secret, new_secret

    session: Session = ctx.obj
    secret = new_secret()
    key = Key(
        id=new_id("key"), name=name, hash=hash_secret(secret), shown=secret[: len(PREFIX) + 4], created=int(time.time())
    )  # fmt: skip
    store = session.workspace.store
    first = not store.keys()
    store.put_key(key).result()
    session.emit({"id": key.id, "name": name, "secret": secret})
    session.say("This is the only time the secret is shown.")
    if first:
        session.say("From now on every request needs a key.")


@app.command("list")
def list_(ctx: typer.Context, json: JsonFlag = False) -> None:
    """Every key, by its first characters."""
    session: Session = ctx.obj
    keys = session.workspace.store.keys()
    session.emit([_public(key) for key in keys], lambda: _table(keys))


@app.command()
def revoke(ctx: typer.Context, key: Annotated[str, typer.Argument(help="Its id or its name.")], json: JsonFlag = False) -> None:
    """End a key, at once. That keys were made is remembered: the last one revoked does not open the door."""
    session: Session = ctx.obj
    store = session.workspace.store
    made = store.keys()
    found = [item for item in made if key in (item.id, item.name) and item.revoked is None]
    if not found:
        raise NotFoundError(f"There is no key '{key}' in force. See them with: stillhouse key list")
    if len(found) > 1:
        raise ConflictError(f"Several keys are named '{key}': revoke by id, one of {', '.join(item.id for item in found)}.")
    revoked = found[0].model_copy(update={"revoked": int(time.time())})
    store.put_key(revoked).result()
    session.emit(_public(revoked))


def _public(key: Key) -> dict[str, object]:
    return key.model_dump(mode="json", exclude={"hash"})


def _table(keys: list[Key]) -> Table:
    table = new_table("id", "name", "begins with", "made", "revoked")
    for key in keys:
        table.add_row(key.id, key.name, key.shown, when(key.created), when(key.revoked))
    return table
