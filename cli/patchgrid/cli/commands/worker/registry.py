"""`patchgrid worker list` and `drain`."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.errors import UsageError
from patchgrid.cli.terminal.screen import counted, say, show_json, visible
from patchgrid.cli.views.worker_table import (
    short_name,
    show_queues,
    show_workers,
    worker_json,
)
from patchgrid.core.plain import plain
from patchgrid.core.states import WorkerState
from patchgrid.storage.queue import workers


@click.command("list")
@click.option(
    "--prometheus",
    is_flag=True,
    help="Print metrics in Prometheus' text format, for example for node_exporter's textfile collector.",
)
@click.option("--all", "stopped_too", is_flag=True, help="Include workers that stopped within the last day.")
@with_settings
def list_(settings: Settings, /, prometheus: bool, stopped_too: bool) -> None:
    """List the queue of each model, and the workers.

    A worker sends a heartbeat every few seconds; `seen` is the time since the last one. After a minute
    without one it is shown as lost: its chunk is reassigned when its lease expires. --json shows every field,
    stopped workers included.
    """
    with settings.backend() as source:
        if prometheus:
            click.echo(source.metrics(), nl=False)
            return
        queues, records = source.queues(), source.workers()
    if settings.json:
        show_json({"queues": plain(queues), "workers": [worker_json(each) for each in records]})
        return
    if queues:
        show_queues(queues)
        click.echo()
    else:
        say("No unfinished jobs")
    shown = [each for each in records if stopped_too or each.state != WorkerState.STOPPED]
    if shown:
        show_workers(shown)
    else:
        say("No workers: start one with patchgrid worker start --model MODEL")
    if len(shown) < len(records):
        command = settings.command("worker list --all")
        say(f"{counted(len(records) - len(shown), 'worker')} stopped within the last day: {command}")


@click.command()
@click.argument("names", metavar="[NAME]…", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="All workers.")
@with_settings
def drain(settings: Settings, /, names: tuple[str, ...], everyone: bool) -> None:
    """Tell workers to finish their current chunk and exit with code 0.

    NAME is a worker's name or the beginning of it, its id, or a host (all workers on it). Workers notice
    within seconds.
    """
    if bool(names) == everyone:
        raise UsageError("name the workers to drain, or give --all")
    with settings.writing() as session:
        # `worker list` shows generated names without their last part.
        whole = {short_name(each): each.name for each in workers.list_workers(session)}
        draining = workers.drain(session, None if everyone else [whole.get(name, name) for name in names])
    if settings.json:
        show_json({"draining": draining})
    say(
        f"{counted(len(draining), 'worker')} will stop after the current chunk"
        if draining
        else "No workers to drain"
    )
    for name in draining:
        say(f"  {visible(name)}")
