"""`patchgrid results export`."""

from pathlib import Path

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import UsageError
from patchgrid.cli.options import job_argument, method_option, normalise_option, one_of
from patchgrid.cli.terminal.output import open_output
from patchgrid.cli.terminal.screen import counted, say
from patchgrid.core.names import check_name
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import FIELDS, TOP_WIDE, check_kept, strongest_only
from patchgrid.storage.output.row_files import FORMATS


@click.command()
@job_argument
@click.option(
    "--what",
    default="components",
    show_default=True,
    metavar=one_of(tuple(FIELDS)),
    help="scores: one per pair and component; exact: the cells patched exactly; components: means and "
    "estimates over all pairs; pairs: tokens and metrics.",
)
@click.option(
    "--format",
    "form",
    metavar=one_of(FORMATS),
    help="Parquet needs -o and pip install 'patchgrid[parquet]'.  [default: by FILE's suffix, else jsonl]",
)
@normalise_option
@method_option
@click.option(
    "-o", "--output", metavar="FILE", help="File to write, completely or not at all.  [default: stdout]"
)
@with_settings
def export(
    settings: Settings,
    /,
    name: str,
    what: str,
    form: str | None,
    normalise: bool,
    method: str | None,
    output: str | None,
) -> None:
    """Write a job's results as rows, in an order that depends only on the job.

    \b
    scores       pair, component, site, layer, head, unit, position, score
    exact        pair, component, site, layer, head, unit, position, score, effect,
                 inclusion (probability of being drawn)
    components   component, site, layer, head, unit, position, n, mean, mean_abs, std,
                 estimate, ci_low, ci_high, exact_n, pairs_low, pairs_high, heavy, shrunk
    pairs        pair, state, error, tokens, clean_metric, corrupted_metric,
                 clean_preference, corrupted_preference, correct_tokens, incorrect_tokens, group

    A position is an index into the pair's tokens from 0; in `components` it counts from the end (-1 is the
    last), or is a span's name. An empty value means: not applicable, or all positions. Rows of edges have one
    more field at the end, `edge`, its name; layer and head are those of its sender. With --normalise the last
    field is `divided_by`, the job's mean clean - corrupted metric.

    ci_low and ci_high are the 95 % interval for the population that the job's pairs are a sample of,
    pairs_low and pairs_high the one for these pairs alone. heavy: few cells carry the variance, and the
    interval may be too short. shrunk: the estimate is from fewer than three cells, and has no interval.
    """
    check_name("export", what, tuple(FIELDS))
    if form is None:
        form = _format_of(output)
    check_name("format", form, FORMATS)
    if form == "parquet" and output is None:
        raise UsageError("Parquet cannot be written to stdout: name a file with -o")
    with settings.backend() as source:
        job = source.job(name)
        check_kept(job, what, method)
        if what == "scores" and strongest_only(job):
            _say_strongest(job, method)
        with open_output(output) as file:
            written = source.export(job, what, form, method, file, normalise=normalise)
    if output is not None:
        say(f"Wrote {'all rows' if written is None else counted(written, 'row')} to {output}")


def _format_of(output: str | None) -> str:
    """Return the format of a file's suffix."""
    suffix = "" if output is None else Path(output).suffix.removeprefix(".").lower()
    return suffix if suffix in FORMATS else "jsonl"


def _say_strongest(job: JobRecord, method: str | None) -> None:
    """Say that not all scores were kept."""
    sites = ", ".join(strongest_only(job))
    if job.method(method) == job.method():
        say(
            f"{sites}: only each pair's {TOP_WIDE} largest scores were stored (--detail positions stores all)"
        )
    else:
        say(f"{sites}: no scores by {method} were stored (--detail positions stores all)")
