"""`patchgrid results plot`."""

import click

from patchgrid.cli import plots
from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.drawings import default_site, draw_heads, draw_positions, draw_scatter
from patchgrid.cli.errors import UsageError
from patchgrid.cli.finding import find_job, job_argument
from patchgrid.cli.options import one_of
from patchgrid.cli.screen import say, show_json
from patchgrid.engine.names import check_name

PICTURES = ("heads", "positions", "scatter")


@click.command()
@job_argument
@click.option(
    "--what",
    default="heads",
    show_default=True,
    metavar=one_of(PICTURES),
    help="heads: layer by head; positions: layer by position; scatter: score against exact effect.",
)
@click.option("--site", metavar="SITE", help="Site to draw; z if not given, where the job has it.")
@click.option(
    "--pair", metavar="ID", help="One pair instead of the mean: heads, or positions with its tokens."
)
@click.option("-o", "--output", required=True, metavar="FILE", help="Picture to write: .png or .svg.")
@with_settings
def plot(
    settings: Settings, /, name: str, what: str, site: str | None, pair: str | None, output: str
) -> None:
    """Draw a job's heatmaps, or its scores against the exact effects.

    Heatmaps show the estimated mean effect where every component has one, else the mean score. Positions of
    single pairs need a job run with --detail positions.
    """
    check_name("picture", what, PICTURES)
    if what == "scatter" and pair is not None:
        raise UsageError("--pair goes with heads and positions: a scatter plot is of all pairs")
    with settings.reading() as session:
        job = find_job(session, name)
        chosen = site or default_site(job, what)
        if what == "scatter":
            figure = draw_scatter(session, job, chosen)
        else:
            figure = (draw_heads if what == "heads" else draw_positions)(session, job, chosen, pair)
    plots.save(figure, output)
    if settings.json:
        show_json({"file": output, "what": what, "site": chosen})
    say(f"Wrote {output}")
