"""`patchgrid results plot`."""

import click

from patchgrid.api.pictures.drawings import Drawing, default_picture, default_site
from patchgrid.api.pictures.saving import save
from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import UsageError
from patchgrid.cli.options import job_argument, method_option, one_of
from patchgrid.cli.screen import say, show_json
from patchgrid.engine.names import check_name

PICTURES = ("heads", "positions", "scatter", "top")
#: Pictures that cannot be of one pair, with the words for it.
OF_ALL_PAIRS = {"scatter": "a scatter plot is", "top": "the strongest components are"}


@click.command()
@job_argument
@click.option(
    "--what",
    show_default="heads; top of what has none",
    metavar=one_of(PICTURES),
    help="heads: layer by head; positions: layer by position; scatter: score against exact effect; top: the "
    "30 strongest components with their intervals.",
)
@click.option("--site", metavar="SITE", help="Site to draw; z if not given, where the job has it.")
@method_option
@click.option(
    "--pair", metavar="ID", help="One pair instead of the mean: heads, or positions with its tokens."
)
@click.option("-o", "--output", required=True, metavar="FILE", help="Picture to write: .png or .svg.")
@with_settings
def plot(
    settings: Settings,
    /,
    name: str,
    what: str | None,
    site: str | None,
    method: str | None,
    pair: str | None,
    output: str,
) -> None:
    """Draw a job's heatmaps, or its scores against the exact effects.

    Heatmaps show the estimated mean effect where every component has one, else the mean score. Positions of
    single pairs need a job run with --detail positions. Neurons and edges, of which there are too many for a
    heatmap, are drawn by --what top.
    """
    if what is not None:
        check_name("picture", what, PICTURES)
    if what in OF_ALL_PAIRS and pair is not None:
        raise UsageError(f"--pair goes with heads and positions: {OF_ALL_PAIRS[what]} of all pairs")
    with settings.asking() as source:
        job = source.job(name)
        picture = what or default_picture(job, site)
        chosen = site or default_site(job, picture)
        drawing = Drawing(source, job, chosen, method)
        match picture:
            case "scatter":
                figure = drawing.scatter(say)
            case "top":
                figure = drawing.top()
            case "heads":
                figure = drawing.heads(pair)
            case _:
                figure = drawing.positions(pair)
    save(figure, output)
    if settings.json:
        show_json({"file": output, "what": picture, "site": chosen, "method": job.method(method)})
    say(f"Wrote {output}")
