"""`patchgrid demo`: the whole way, on a model that comes with patchgrid."""

from pathlib import Path

import click

from patchgrid.api.client.backends.database import DatabaseBackend
from patchgrid.api.pictures.drawings import Drawing
from patchgrid.api.pictures.saving import save
from patchgrid.cli.commands.run import run_pairs
from patchgrid.cli.context import Settings, database_url, with_settings
from patchgrid.cli.errors import FAILED, OutputError
from patchgrid.cli.execution.execution import Machine
from patchgrid.cli.options import machine_options
from patchgrid.cli.terminal.screen import say
from patchgrid.core.errors import PatchgridError
from patchgrid.core.packages import require
from patchgrid.engine import JobSpec
from patchgrid.pairs import PairFile
from patchgrid.storage import Database
from patchgrid.storage.access.submitting import Order
from patchgrid.storage.jobs import jobs

#: Where the demo's files are: beside this module in a wheel, under examples/ in a checkout.
PLACES = (Path(__file__).parents[1] / "demo_data", Path(__file__).parents[4] / "examples")
#: The model's folder and the pair file there.
MODEL, PAIRS = "demo_model", "pairs/ioi.jsonl"


class DemoMissingError(PatchgridError, LookupError):
    """The demo's model or pairs are not where they should be."""


@click.command()
@click.option(
    "--out",
    default="patchgrid-demo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the database and the pictures.",
)
@machine_options
@with_settings
def demo(settings: Settings, /, out: Path, device: str, batch_tokens: int | None) -> int:
    """Find the heads a small trained model uses to tell who gets the gift.

    The model was trained on sentences such as "When Mary and John went to the shop, John gave a ball to",
    which it completes with " Mary". The demo measures which heads and MLPs do that, over 300 pairs of
    sentences; checks it against exact patching; and draws two pictures. The database and the pictures are
    written to a new folder; --db stores the job in another database.
    """
    place = find_demo()
    for extra in ("model", "plot"):
        require(extra, "the demo")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create folder {out}: {error.strerror}") from error
    file_name = str(out / "demo.db")
    chosen = settings if settings.named_url else Settings(database_url(file_name), settings.json, file_name)
    spec = JobSpec(model=str(place / MODEL), exact=0.2)
    with PairFile.open(place / PAIRS) as file:
        order = Order(spec, file, file.check(), "demo")
        code = run_pairs(chosen, order, Machine(device, batch_tokens))
    if code != FAILED:
        with chosen.open() as database:
            draw(database, settings.user, order.key, out)
    return code


def find_demo() -> Path:
    """Return the folder of the demo's model and pairs."""
    for place in PLACES:
        if (place / MODEL / "config.json").is_file() and (place / PAIRS).is_file():
            return place.resolve()
    raise DemoMissingError(
        "the demo's model and pairs are missing: they are in patchgrid's repository, under examples/"
    )


def draw(database: Database, user: str, key: str, out: Path) -> None:
    """Draw the two pictures."""
    heads, scatter = out / "heads.png", out / "score-against-exact.png"
    with database.read() as session:
        job = jobs.find_by_key(session, key)
    assert job is not None, "the demo's job has just finished"
    drawing = Drawing(DatabaseBackend(database, user=user), job, "z")
    save(drawing.heads(), heads)
    save(drawing.scatter(), scatter)
    say(f"Wrote {heads}")
    say(f"Wrote {scatter}")
