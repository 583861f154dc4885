"""`patchgrid run`: from a pair file to stored, verified results in one command."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from patchgrid.api.client.backends.database import DatabaseBackend
from patchgrid.api.client.errors import JobPaused
from patchgrid.api.client.measuring import Run, load_once, open_for, run_order
from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import UsageError
from patchgrid.cli.execution.budget import check_budget, pace_of, say_budget
from patchgrid.cli.execution.counting import Shape, count_sites
from patchgrid.cli.execution.execution import Machine, engine_for, show_outcome, stop_and_bar
from patchgrid.cli.options import (
    chunk_size_option,
    machine_options,
    model_option,
    site_list,
    spec_options,
    submit_options,
)
from patchgrid.cli.refinement_options import refine_options, split_options
from patchgrid.cli.terminal.screen import say, visible
from patchgrid.core.names import model_name
from patchgrid.core.sites import WIDE_SITES
from patchgrid.engine import JobSpec
from patchgrid.pairs import PairFile
from patchgrid.storage import Database
from patchgrid.storage.access.submitting import Order, Submitter
from patchgrid.storage.jobs.jobs import JobRecord

if TYPE_CHECKING:
    from patchgrid.engine import Engine

#: Share of the cells of a very large site from which on patching takes far longer than scoring.
MUCH = 0.01


@click.command()
@click.argument("pairs", metavar="PAIRS")
@model_option
@spec_options
@refine_options
@machine_options
@submit_options
@chunk_size_option
@with_settings
def run(
    settings: Settings,
    /,
    pairs: str,
    device: str,
    batch_tokens: int | None,
    columns: dict[str, str],
    limit: int | None,
    name: str | None,
    chunk_size: int | None,
    **spec: Any,
) -> int:
    """Measure which components of MODEL carry the behaviour that the prompt pairs in PAIRS show.

    PAIRS is a file of clean and corrupted prompts with their answers: JSONL, JSON, CSV or Parquet, in our own
    layout or a published one (EAP-IG, feature-circuits, auto-circuit, MIB); `-` reads standard input. Every
    pair is scored by attribution, a sample of (pair, component) cells is patched exactly, and both are stored
    in the database.

    Ctrl-C stops after the current batch. Run the same command again to resume; once the job is done, it shows
    the results again.

    \b
    patchgrid run pairs.jsonl -m openai-community/gpt2
    patchgrid run pairs.csv -m ./model --sites z,resid_post --exact 0.1
    patchgrid run pairs.csv -m ./model --method atp,relp,ig    (then: results verify)
    patchgrid run pairs.csv -m ./model --method eap --exact 0.001
    """
    refinements = split_options(spec)
    measured = make_spec(**spec)
    with PairFile.open(pairs, limit=limit, columns=columns) as file:
        summary = file.check()
        for note in summary.notes:
            say(f"Note: {note}")
        order = Order(measured, file, summary, name, chunk_size=chunk_size, refinements=refinements)
        return run_pairs(settings, order, Machine(device, batch_tokens))


def make_spec(*, model: str, sites: str | None, **values: Any) -> JobSpec:
    """Put the options of a command together as a job's spec."""
    spec = JobSpec.of(model=model_name(model), sites=site_list(sites), **values)
    wide = [site for site in spec.query.sites if site in WIDE_SITES]
    if wide and spec.share > MUCH:
        say(
            f"Note: {wide[0]} has very many components, and {100 * spec.share:g} % of all cells would be "
            "patched exactly: --exact 0.001 is enough; `patchgrid submit --dry-run` counts the cells"
        )
    return spec


def run_pairs(settings: Settings, order: Order, machine: Machine) -> int:
    """Submit pairs, or find their job, work it off and show its results."""

    def loaded() -> "Engine":
        engine = engine_for(order.spec, machine)
        _say_budget(settings, order, engine)
        return engine

    load = load_once(loaded, order.spec.query)
    with open_for(load, lambda create: settings.open(create=create)) as database:
        done = _run(settings, database, order, load, machine)
        if done.seconds is None:
            note_name(done.job, order.name)
        source = DatabaseBackend(database, user=settings.user)
        return show_outcome(settings, source, done.job.id, done.seconds)


def _say_budget(settings: Settings, order: Order, engine: "Engine") -> None:
    """Say what the budget of exact patching gives; refuse one that gives nothing."""
    spec, pairs, layout = order.spec, order.summary.count, engine.layout
    shape = Shape(
        layout.n_layers, layout.n_heads, layout.n_kv_heads, d_mlp=layout.d_mlp, parallel=layout.parallel
    )
    # Where positions are components of their own, their number is known only once prompts are tokenized.
    counts = [] if spec.positions == "keep" else count_sites(spec, shape, pairs, 0)
    check_budget(spec, counts)
    say_budget(spec, pairs, counts, pace_of(settings, spec))


def _run(
    settings: Settings, database: Database, order: Order, load: Callable[[], "Engine"], machine: Machine
) -> Run:
    by = Submitter(user=settings.user)
    try:
        return run_order(database, order, by, load, batch_tokens=machine.batch_tokens, **stop_and_bar())
    except JobPaused as error:
        command = settings.command(f"job resume {error.job_id} --here")
        raise UsageError(
            f"job {error.job_id} already measures these pairs with these settings and is paused; "
            f"to resume: {command}"
        ) from None


def note_name(job: JobRecord, name: str | None) -> None:
    """Print a note if an existing job does not have the requested name."""
    if name is not None and job.name != name:
        name_words = f"is {visible(job.name)!r}" if job.name else "was not set when it was submitted"
        say(f"Note: its name {name_words}; {name!r} does not find it, {job.id} does")
