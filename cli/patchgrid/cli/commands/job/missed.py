"""`patchgrid job missed`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import FAILED
from patchgrid.cli.execution.execution import Machine, engine_for
from patchgrid.cli.options import job_argument, machine_options
from patchgrid.cli.terminal.progress import shown_count
from patchgrid.cli.terminal.screen import counted, say, show_json
from patchgrid.cli.terminal.stopping import GOES_ON, stop_on_signals
from patchgrid.cli.views.missed_table import confidence_option, show_missed
from patchgrid.engine.checkpoint.quiet import quietly
from patchgrid.storage.jobs import job_list
from patchgrid.storage.subsets.missed import missed as bounds_of
from patchgrid.storage.subsets.missed import missed_json


@click.command()
@job_argument
@click.option("--site", metavar="SITE", help="One of the job's sites.  [default: neurons, else heads]")
@click.option(
    "--subsets",
    type=click.IntRange(32, 4096),
    metavar="N",
    default=64,
    show_default=True,
    help="Random subsets per pair, a sixteenth of the components each.",
)
@click.option(
    "--pairs",
    type=click.IntRange(min=2),
    metavar="N",
    default=32,
    show_default=True,
    help="Pairs to patch them in.",
)
@confidence_option
@machine_options
@with_settings
def missed(
    settings: Settings,
    /,
    name: str,
    site: str | None,
    subsets: int,
    pairs: int,
    confidence: float,
    device: str,
    batch_tokens: int | None,
) -> int | None:
    """Bound what a job's scores missed, by patching random subsets of components.

    A component whose score is near 0 may have a large effect, and no sample of single patches will find one
    among thousands. Here all that were patched in fewer than three pairs are dealt into subsets, each of
    which is patched as a whole, in some of the job's pairs. That gives a value that no component exceeds, and
    names those that do more, or less, than their scores say.

    Runs in this process, on a finished job of --db. Stored subsets are not measured again: a larger --subsets
    or --pairs adds to them.
    """
    from patchgrid.workers.measuring.missed import Done, Wanted, measure_missed, plan_missed

    done = Done(0, 0, stopped=False)
    with settings.open() as database:
        with database.read() as session:
            job_id = job_list.find(session, name, settings.user).id
            plan = plan_missed(session, job_id, Wanted(site, subsets, pairs))
        if plan.rounds:
            engine = engine_for(plan.job.spec, Machine(device, batch_tokens))
            with quietly(), stop_on_signals() as stop, shown_count("pair", "measured") as shown:
                done = measure_missed(
                    database,
                    engine,
                    plan,
                    batch_tokens=batch_tokens,
                    stop=stop,
                    on_pairs=lambda number, total: shown(int(number), total),
                )
        else:
            say("All of these subsets are already measured")
        with database.read() as session:
            found = bounds_of(session, plan.job, plan.design.site, confidence=confidence)
    if settings.json:
        show_json({"job": job_id, "items": missed_json(found)})
    else:
        show_missed(settings, plan.job, found)
    if done.failed:
        say(f"Left out: {counted(done.failed, 'pair')} that could not be measured")
    if done.stopped:
        say(GOES_ON)
        return FAILED
    return None
