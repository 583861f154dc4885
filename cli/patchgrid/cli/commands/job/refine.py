"""`patchgrid job refine`: more exact patching of a job that is done."""

from typing import Any

import click

from patchgrid.api.client.backends.backend import Backend
from patchgrid.api.client.backends.database import DatabaseBackend
from patchgrid.api.client.measuring import check_unchanged, load_once, refine_here
from patchgrid.cli.context import Settings, with_broker
from patchgrid.cli.errors import DONE, FAILED
from patchgrid.cli.execution.broker import check_broker
from patchgrid.cli.execution.execution import Machine, engine_for, stop_and_bar
from patchgrid.cli.options import job_argument, machine_options
from patchgrid.cli.refinement_options import SHARE, certify_options, read_components, refinement_of
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.terminal.stopping import GOES_ON
from patchgrid.cli.views.refinement_view import show_refinement
from patchgrid.core.refinement import Refinement
from patchgrid.core.states import ENDED_JOBS
from patchgrid.storage.access.submitting import Submitter
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.refinements import refinement_json
from patchgrid.storage.rounds.requests import RefinementRecord


@click.command()
@job_argument
@click.option(
    "--exact",
    type=SHARE,
    metavar="SHARE",
    help="Patch this additional share of all cells, where it improves estimates most: +0.05.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Patch every pair of the N components of largest |estimate|.",
)
@click.option(
    "--components",
    callback=read_components,
    metavar="NAME,…",
    help="Patch every pair of these components: a9.h6,m5.",
)
@click.option(
    "--positions",
    callback=read_components,
    metavar="POSITION,…",
    help="Only these positions of --components: -1,subject.",
)
@certify_options
@click.option("--queue", is_flag=True, help="Leave the rounds to workers; with --server they always are.")
@machine_options
@with_broker
def refine(
    settings: Settings, /, name: str, queue: bool, device: str, batch_tokens: int | None, **asked: Any
) -> int:
    """Patch more of a job that is done; nothing is patched twice.

    Give one of --exact, --top, --components and --certify. --certify patches in rounds until it is certain
    which K components have the largest |mean effect| (--signed: the largest mean effect): only components
    that are still undecided get more cells.

    The rounds run in this process. Ctrl-C stops after the current batch; run the same command again to
    resume. `job cancel` ends a refinement, and the job keeps what was patched.

    \b
    patchgrid job refine last --top 10
    patchgrid job refine last --certify top=10
    patchgrid results top last
    """
    refinement = refinement_of(**asked)
    check_broker(settings.broker)
    machine = Machine(device, batch_tokens)
    with settings.backend() as source:
        job = source.job(name)
        if queue or source.database is None:
            return _queue(settings, source, job, refinement)
    return _run(settings, job, refinement, machine)


def _queue(settings: Settings, source: Backend, job: JobRecord, refinement: Refinement) -> int:
    """Leave the rounds to workers."""
    if source.database is not None:
        check_unchanged(job, source.weights(job))
    job = source.refine(job, refinement)
    record = source.refinements(job)[-1]
    if job.state in ENDED_JOBS:
        return _show(settings, job, record)
    source.wake(job.id)
    if settings.json:
        show_json(_document(job, record))
    say(f"Job {job.id} is on the queue again: round {job.rounds}")
    say(f"Follow it: {settings.command(f'job watch {job.id}')}")
    return DONE


def _run(settings: Settings, job: JobRecord, refinement: Refinement, machine: Machine) -> int:
    """Run the rounds in this process."""
    load = load_once(lambda: engine_for(job.spec, machine), job.spec.query)
    with settings.open() as database:
        number = refine_here(
            database,
            job,
            refinement,
            Submitter(user=settings.user),
            load,
            batch_tokens=machine.batch_tokens,
            **stop_and_bar(),
        )
        source = DatabaseBackend(database, user=settings.user)
        record = source.refinements(job)[number - 1]
        return _show(settings, source.job(job.id), record)


def _show(settings: Settings, job: JobRecord, record: RefinementRecord) -> int:
    if settings.json:
        show_json(_document(job, record))
    else:
        show_refinement(settings, job, record)
    if record.finished_at is None:
        say(GOES_ON)
        return FAILED
    return FAILED if record.state == "failed" else DONE


def _document(job: JobRecord, record: RefinementRecord) -> dict[str, Any]:
    return {"job": job.id, "state": job.state} | {"refinement": refinement_json(record)}
