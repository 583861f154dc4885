"""`patchgrid serve`: the HTTP service and its page."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from patchgrid.api.client.engines import check_model, model_name
from patchgrid.cli.context import Settings, with_broker
from patchgrid.cli.errors import DONE, UsageError
from patchgrid.cli.execution.broker import check_broker
from patchgrid.cli.options import PRIORITIES, SIZE, SIZE_OR_NONE
from patchgrid.cli.terminal.screen import say, show_json, visible
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
        raise click.BadParameter(f"{number} is no number of requests: name one that is never reached")
    return number


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0: all.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen at; 0: any free one.",
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="MODEL[@REVISION]",
    help="A model that may be asked for; give it several times. Without it: those that workers served within "
    "the last day.",
)
@click.option(
    "--max-upload",
    type=SIZE,
    default="2GB",
    show_default=True,
    metavar="SIZE",
    help="Largest pair file.",
)
@click.option(
    "--max-pairs",
    type=click.IntRange(min=1),
    default=2_000_000,
    show_default=True,
    metavar="N",
    help="Most pairs of a job.",
)
@click.option(
    "--max-open-jobs",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Most jobs of a token that are not ended.",
)
@click.option(
    "--max-priority",
    type=PRIORITIES,
    default=0,
    show_default=True,
    metavar="N",
    help="Highest priority for tokens without a --max-priority of their own; admins have none.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.1),
    callback=finite,
    default=100.0,
    show_default=True,
    metavar="N",
    help="Requests a second of a token, or of an address without one.",
)
@click.option(
    "--min-export-rate",
    type=SIZE_OR_NONE,
    default="10kB",
    show_default=True,
    metavar="SIZE",
    help="Bytes per second that a client must read of an export; slower ones are disconnected. 0: none.",
)
@click.option(
    "--require-token",
    is_flag=True,
    help="Ask for tokens from the start: the server then may listen anywhere before there are any.",
)
@click.option("--access-log", is_flag=True, help="Write a line for each request to stderr.")
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
    """Serve jobs and results over HTTP, with a page for people, until Ctrl-C or SIGTERM.

    Without tokens it answers to this machine alone, and everything is allowed. For other machines make
    tokens first (`patchgrid token create`), then name --host; TLS is left to a proxy in front of it.

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
    """Serve until a signal comes; `UsageError` where other machines would need a token and there is none."""
    from patchgrid.api.server import serving

    with Database.open(settings.url, create=True, connections=_CONNECTIONS) as database:
        found = _tokens(database, may_be_open=values.may_be_open)
        if found == "none" and not values.may_be_open and not require_token:
            raise UsageError(
                f"without tokens the server listens to this machine only: first {_create(settings)}"
            )
        listener = serving.listen(host, port)
        url = serving.address(listener)
        serving.serve(
            database,
            values,
            listener,
            access_log=access_log,
            on_ready=lambda: _say_ready(settings, database.label, url, found),
        )


def _tokens(database: Database, *, may_be_open: bool) -> Literal["open", "none", "some"]:
    """Tell whether the server is open, or which tokens there are: none that is good for anything, or some."""
    with database.read() as session:
        if may_be_open and not tokens.any_made(session):
            return "open"
        return "some" if tokens.any_valid(session) else "none"


def _say_ready(settings: Settings, label: str, url: str, found: Literal["open", "none", "some"]) -> None:
    if settings.json:
        show_json({"url": url, "open": found == "open"})
    who = "no tokens: open to this machine alone" if found == "open" else "tokens are asked for"
    say(f"Serving {visible(label)} at {url} ({who}); Ctrl-C ends it")
    if found == "none":
        say(f"There are none yet: {_create(settings)}")


def _create(settings: Settings) -> str:
    return settings.command("token create NAME --scope submit")


def _allowed(text: str) -> "AllowedModel":
    """Read a model; a folder is named as workers name it."""
    from patchgrid.api.service.settings import AllowedModel

    # A folder's own name may have an @ in it.
    read = AllowedModel(text) if Path(text).is_dir() else AllowedModel.read(text)
    if not read.model.strip():
        raise UsageError("--model names no model")
    named = model_name(read.model)
    check_model(named)
    return AllowedModel(named, read.revision)
