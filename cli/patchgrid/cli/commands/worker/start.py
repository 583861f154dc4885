"""`patchgrid worker start`: a worker in this process, or one for each GPU."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from patchgrid.cli.context import Settings, with_broker
from patchgrid.cli.errors import DEBUG, DONE
from patchgrid.cli.execution.broker import check_broker
from patchgrid.cli.options import SIZE, batch_tokens_option, device_option
from patchgrid.cli.terminal.stopping import drain_on_signals
from patchgrid.core.errors import ModelError
from patchgrid.core.names import model_name
from patchgrid.core.packages import require
from patchgrid.engine.checkpoint.quiet import quietly
from patchgrid.workers.node.settings import WorkerSettings

_SECONDS = click.FloatRange(min=0, min_open=True)


@click.command(context_settings={"auto_envvar_prefix": "PATCHGRID_WORKER"})
@click.option(
    "-m",
    "--model",
    "models",
    required=True,
    multiple=True,
    metavar="MODEL",
    help="Model to serve, named as in jobs: hub id or local folder. Repeatable.",
)
@device_option
@click.option(
    "--gpus",
    metavar="all|0,1,…",
    help="Run one worker process per GPU; restart it if it crashes.",
)
@batch_tokens_option
@click.option(
    "--poll",
    type=_SECONDS,
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How often an idle worker polls the database.",
)
@click.option(
    "--slice",
    type=_SECONDS,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="With --broker: how long one message lets a worker work before the next message's turn.",
)
@click.option(
    "--lease",
    "lease_seconds",
    type=click.FloatRange(min=2),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Lease duration; an expired chunk is reassigned.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=25.0,
    show_default=True,
    metavar="SECONDS",
    help="Time to finish the current chunk after a stop signal; then the chunk is handed back.",
)
@click.option("--max-chunks", type=click.IntRange(min=1), metavar="N", help="Exit after N chunks.")
@click.option(
    "--idle-exit",
    type=_SECONDS,
    metavar="SECONDS",
    help="Exit after this long without work, for batch schedulers.",
)
@click.option(
    "--watchdog",
    type=_SECONDS,
    default=900.0,
    show_default=True,
    metavar="SECONDS",
    help="Kill the worker if one batch takes longer than this; its chunk is reassigned.",
)
@click.option(
    "--memory-limit",
    type=SIZE,
    metavar="SIZE",
    help="Memory for models, such as 40GB; least recently used models are evicted.  [default: most of the "
    "device's]",
)
@click.option(
    "--remote-control",
    is_flag=True,
    help="Accept all of Celery's remote control, including `shutdown`.  [default: only inspect and drain]",
)
@click.option("--name", metavar="TEXT", help="Worker name.  [default: host/process id]")
@with_broker
def start(
    settings: Settings,
    /,
    models: tuple[str, ...],
    gpus: str | None,
    name: str | None,
    **options: Any,
) -> int:
    """Run a worker in this process until it is stopped.

    A worker claims chunks of jobs whose model it serves, higher priorities first. It loads a model for its
    first chunk and keeps it. With --broker it is a Celery worker on the queues of its models: each message
    lets it work for --slice seconds. Without a broker, or without a message, it polls the database every
    --poll seconds.

    After SIGTERM, Ctrl-C or SIGUSR1 (Slurm's warning) it finishes its chunk within --grace seconds, or hands
    it back; after a second signal it hands it back after the current batch. Exit code 0 if it was stopped,
    drained, or ended by --max-chunks or --idle-exit. If it is killed nothing is lost: its lease expires.

    \b
    patchgrid worker start --model openai-community/gpt2 --gpus all
    patchgrid worker start --model ./a --model ./b --device cuda:0 --idle-exit 300
    """
    chosen = WorkerSettings(
        models=tuple(checked_model(model) for model in models), broker=settings.broker, **options
    )
    check_broker(settings.broker)
    require("model", "running a model")
    _log_to_stderr()
    if gpus is not None:
        from patchgrid.cli.commands.worker.gpus import supervise

        return supervise(settings, chosen, gpus, name)
    return _work(settings, chosen, name)


def checked_model(text: str) -> str:
    """Name a model as jobs do; refuse a folder that is not there, of which no job can be served."""
    name = model_name(text)
    if name == text and not Path(text).is_dir() and (text.startswith((".", "~")) or Path(text).is_absolute()):
        raise ModelError(f"no model folder at {text}")
    return name


def _work(settings: Settings, chosen: WorkerSettings, name: str | None) -> int:
    from patchgrid.workers.node.worker import Worker

    with quietly(), settings.open() as database:
        worker = Worker(database, chosen, name=name)
        if chosen.broker is not None:
            from patchgrid.workers.celery.process import run

            run(worker)
            return DONE
        with drain_on_signals(worker.stop, worker.stop_now):
            worker.run()
    return DONE


def _log_to_stderr() -> None:
    """Write what workers log with the time; libraries only when something is wrong."""
    debug = os.environ.get(DEBUG) == "1"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("patchgrid").setLevel(logging.DEBUG if debug else logging.INFO)
