"""`patchgrid results plot`."""

import click

from patchgrid.api.pictures.drawings import PICTURES, Drawing, default_picture, default_site
from patchgrid.api.pictures.look import Look
from patchgrid.api.pictures.saving import DOTS_PER_INCH, check_name, save
from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import job_argument, method_option, normalise_option, one_of
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.storage.results.normalised import UNIT, Normalised


@click.command()
@job_argument
@click.option(
    "--what",
    show_default="heads; top for sites without heads",
    metavar=one_of(PICTURES),
    help="heads: layer by head; positions: layer by position; exact: one pair's exact effects, layer by "
    "token; scatter: score against exact effect; top: the 30 strongest components with their intervals.",
)
@click.option(
    "--site", metavar="SITE", help="Site to draw.  [default: z where the job has it; all sites for top]"
)
@normalise_option
@method_option
@click.option(
    "--pair", metavar="ID", help="One pair instead of the mean: heads, positions with its tokens, or exact."
)
@click.option(
    "--vmax",
    type=float,
    metavar="X",
    help="Largest value of the colour scale.  [default: the largest value shown]",
)
@click.option("--title", metavar="TEXT", help="Title.  [default: the job's name and what is shown]")
@click.option(
    "--dpi",
    type=click.IntRange(10, 1200),
    default=DOTS_PER_INCH,
    show_default=True,
    metavar="N",
    help="Dots per inch.",
)
@click.option("-o", "--output", required=True, metavar="FILE", help="Picture file: .png, .svg or .pdf.")
@with_settings
def plot(
    settings: Settings,
    /,
    name: str,
    what: str | None,
    site: str | None,
    normalise: bool,
    method: str | None,
    pair: str | None,
    vmax: float | None,
    title: str | None,
    dpi: int,
    output: str,
) -> None:
    """Draw a job's heatmaps, its strongest components, or its scores against exact effects.

    Each cell of a heatmap shows its estimated mean effect, or, marked by a stroke, its mean score where there
    is no estimate. `exact` is the usual activation-patching heatmap: run the job with --positions keep
    --exact 1. A single pair's scores by position need a job with --detail positions. Neurons and edges are
    too many for a heatmap: use --what top.
    """
    check_name(output)
    look = Look(title, vmax)
    with settings.backend() as source:
        job = source.job(name)
        picture = what or default_picture(job, site)
        chosen = site or default_site(job, picture)
        numbers = Normalised(source) if normalise else source
        figure = Drawing(numbers, job, chosen, method, look, unit=UNIT if normalise else None).draw(
            picture, pair, say
        )
    save(figure, output, dpi)
    if settings.json:
        show_json({"file": output, "what": picture, "site": chosen, "method": job.method(method)})
    say(f"Wrote {output}")
