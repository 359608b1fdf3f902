"""`stillhouse serve`: the gateway in the foreground, until it is told to stop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli.output import JsonFlag, Session
from stillhouse.errors import PermissionRefusedError, StoreError

if TYPE_CHECKING:
    from stillhouse.settings import Settings
    from stillhouse.stores.base import Store

app = typer.Typer(no_args_is_help=False)


@app.command()
def serve(
    ctx: typer.Context,
    port: Annotated[int | None, typer.Option(help="0: any free port. Default: 8321.", min=0, max=65535)] = None,
    host: Annotated[str | None, typer.Option(help="Default: 127.0.0.1, this machine only.")] = None,
    json: JsonFlag = False,
) -> None:
    """The gateway: OpenAI's API, every exchange with `store: true` kept.

    Point an OpenAI client's base URL at the printed address. Stop it with Ctrl-C or SIGTERM: requests under way are finished.
    """
    from stillhouse.settings import Settings

    session: Session = ctx.obj
    settings = Settings.load(session.data_dir)
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    _run(session, settings.model_copy(update=given))


def _run(session: Session, settings: Settings) -> None:
    from stillhouse.app import App
    from stillhouse.server import bind, make_server, run, url_of
    from stillhouse.stores.opening import open_store
    from stillhouse.stores.remote import apply_remote_writes

    failures: list[BaseException] = []

    def stop(failure: BaseException) -> None:
        failures.append(failure)
        server.should_exit = True

    store = open_store(settings, role="server", on_fatal=stop)
    try:
        _refuse_open_door(store, settings)
        with bind(settings) as listener:
            url = url_of(listener)
            token = store.publish(url)
            app = App(store, settings, apply_writes=partial(apply_remote_writes, store), token=token)
            server = make_server(app, lambda: session.emit_line({"url": f"{url}/v1"}, f"Stillhouse answers at {url}/v1"))
            run(server, listener)
    finally:
        store.close()
    if failures:
        raise StoreError(f"The disk failed, so the server stopped rather than lose what it is given: {failures[0]}")


def _refuse_open_door(store: Store, settings: Settings) -> None:
    from stillhouse.api.access import is_loopback

    if not is_loopback(settings.host) and not store.keys():
        raise PermissionRefusedError(
            f"Other machines can reach {settings.host}, and no key exists yet. Make one first: stillhouse key create NAME"
        )
