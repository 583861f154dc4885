"""`patchgrid serve`: the HTTP service and its page."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from patchgrid.api.client.engines import check_model
from patchgrid.cli.context import Settings, with_broker
from patchgrid.cli.errors import DONE, UsageError
from patchgrid.cli.execution.broker import check_broker
from patchgrid.cli.options import PRIORITIES, SIZE, SIZE_OR_NONE
from patchgrid.cli.terminal.screen import say, show_json, visible
from patchgrid.core.names import model_name
from patchgrid.core.packages import require
from patchgrid.storage import Database
from patchgrid.storage.access import tokens

if TYPE_CHECKING:
    from patchgrid.api.service.settings import AllowedModel, ServerSettings

#: Connections to the database, most at a time: one a thread, and a few for exports.
_CONNECTIONS = 32


def finite(_ctx: click.Context, _option: click.Parameter, number: float) -> float:
    """Refuse what the range lets pass and no answer can tell of."""
    if not math.isfinite(number):
        raise click.BadParameter(
            f"{number} is not a finite number of requests: for no limit, give a high one"
        )
    return number


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0: any free one.",
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="MODEL[@REVISION]",
    help="A model that jobs may use; repeatable.  [default: the models that workers served within the last "
    "day]",
)
@click.option(
    "--max-upload",
    type=SIZE,
    default="2GB",
    show_default=True,
    metavar="SIZE",
    help="Largest upload of a pair file.",
)
@click.option(
    "--max-pairs",
    type=click.IntRange(min=1),
    default=2_000_000,
    show_default=True,
    metavar="N",
    help="Most pairs per job.",
)
@click.option(
    "--max-open-jobs",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Most unfinished jobs per token.",
)
@click.option(
    "--max-priority",
    type=PRIORITIES,
    default=0,
    show_default=True,
    metavar="N",
    help="Highest priority for tokens without their own --max-priority; admins have no limit.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.1),
    callback=finite,
    default=100.0,
    show_default=True,
    metavar="N",
    help="Requests per second per token, or per address without a token.",
)
@click.option(
    "--min-export-rate",
    type=SIZE_OR_NONE,
    default="10kB",
    show_default=True,
    metavar="SIZE",
    help="Lowest download rate of an export, in bytes per second; slower clients are disconnected. "
    "0: no limit.",
)
@click.option(
    "--require-token",
    is_flag=True,
    help="Require tokens even before any exist, so that the server may listen on any address.",
)
@click.option("--access-log", is_flag=True, help="Log each request to stderr.")
@with_broker
def serve(
    settings: Settings,
    /,
    host: str,
    port: int,
    models: tuple[str, ...],
    max_upload: int,
    max_pairs: int,
    max_open_jobs: int,
    max_priority: int,
    rate: float,
    min_export_rate: int,
    require_token: bool,
    access_log: bool,
) -> int:
    """Serve jobs and results over HTTP, with a web page, until Ctrl-C or SIGTERM.

    Without tokens the server accepts requests from this machine only, and allows everything. To serve other
    machines, create tokens (`patchgrid token create`) and set --host; put a proxy in front for TLS.

    \b
    patchgrid serve
    patchgrid token create lab --scope submit
    patchgrid serve --host 0.0.0.0 --model openai-community/gpt2
    """
    require("server", "the HTTP service")
    check_broker(settings.broker)
    from patchgrid.api.server import serving
    from patchgrid.api.service.settings import ServerSettings

    may_be_open = serving.is_loopback(host) and not require_token
    values = ServerSettings(
        broker=settings.broker,
        models=tuple(_allowed(text) for text in models),
        upload_bytes=max_upload,
        pairs=max_pairs,
        open_jobs=max_open_jobs,
        max_priority=max_priority,
        requests_per_second=rate,
        export_bytes_per_second=min_export_rate,
        may_be_open=may_be_open,
    )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # making a new database is no news
    _listen(settings, values, host, port, require_token=require_token, access_log=access_log)
    say("Stopped")
    return DONE


def _listen(
    settings: Settings,
    values: "ServerSettings",
    host: str,
    port: int,
    *,
    require_token: bool,
    access_log: bool,
) -> None:
    """Serve until a signal; raises `UsageError` if other machines would need a token and none exists."""
    from patchgrid.api.server import serving

    with Database.open(settings.url, create=True, connections=_CONNECTIONS) as database:
        access = _tokens(database, may_be_open=values.may_be_open)
        if access == "none" and not values.may_be_open and not require_token:
            raise UsageError(
                f"without tokens the server accepts this machine only; create one first: {_create(settings)}"
            )
        listener = serving.listen(host, port)
        url = serving.address(listener)
        serving.serve(
            database,
            values,
            listener,
            access_log=access_log,
            on_ready=lambda: _say_ready(settings, database.label, url, access),
        )


def _tokens(database: Database, *, may_be_open: bool) -> Literal["open", "none", "some"]:
    """Return whether the server is open, or whether it has valid tokens."""
    with database.read() as session:
        if may_be_open and not tokens.any_made(session):
            return "open"
        return "some" if tokens.any_valid(session) else "none"


def _say_ready(settings: Settings, label: str, url: str, access: Literal["open", "none", "some"]) -> None:
    if settings.json:
        show_json({"url": url, "open": access == "open"})
    who = "no tokens: open to this machine only" if access == "open" else "tokens required"
    say(f"Serving {visible(label)} at {url} ({who}); Ctrl-C to stop")
    if access == "none":
        say(f"No tokens yet: {_create(settings)}")


def _create(settings: Settings) -> str:
    return settings.command("token create NAME --scope submit")


def _allowed(text: str) -> "AllowedModel":
    """Read a model; a folder is named as workers name it."""
    from patchgrid.api.service.settings import AllowedModel

    # A folder's own name may have an @ in it.
    read = AllowedModel(text) if Path(text).is_dir() else AllowedModel.read(text)
    if not read.model.strip():
        raise UsageError("--model: the name is empty")
    named = model_name(read.model)
    check_model(named)
    return AllowedModel(named, read.revision)
