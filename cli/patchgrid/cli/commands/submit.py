"""`patchgrid submit`: a pair file onto the queue, for workers to measure."""

import sys
from pathlib import Path
from typing import Any

import click

from patchgrid.api.client.backends.backend import Backend, Submission
from patchgrid.api.client.engines import check_model
from patchgrid.api.client.measuring import check_unchanged
from patchgrid.cli.commands.job.watch import refuse_paused
from patchgrid.cli.commands.run import make_spec, note_name
from patchgrid.cli.context import Settings, with_broker
from patchgrid.cli.errors import DONE, INTERRUPTED, UsageError
from patchgrid.cli.execution.broker import check_broker
from patchgrid.cli.execution.budget import pace_of, say_budget
from patchgrid.cli.execution.dry_run import show_dry_run
from patchgrid.cli.execution.execution import show_outcome
from patchgrid.cli.options import (
    PRIORITIES,
    chunk_size_option,
    machine_options,
    model_option,
    spec_options,
    submit_options,
)
from patchgrid.cli.refinement_options import refine_options, split_options
from patchgrid.cli.terminal.screen import counted, say, show_json, visible
from patchgrid.cli.views.summary import not_measured
from patchgrid.cli.views.watching import feed, shown, start_command
from patchgrid.core.states import ENDED_JOBS, FINISHED_JOBS, JobState
from patchgrid.pairs import PairFile
from patchgrid.storage.access.submitting import Order
from patchgrid.storage.output.documents import pair_counts
from patchgrid.storage.queue.job_status import Snapshot

#: Longest key of a user's own.
_LONGEST_KEY = 64


def own_key(_ctx: click.Context, _option: click.Parameter, key: str | None) -> str | None:
    """Refuse a key that cannot be stored."""
    if key is not None and (not key.strip() or not key.isprintable() or len(key) > _LONGEST_KEY):
        raise UsageError(f"a key is 1 to {_LONGEST_KEY} printable characters, not {key!r}")
    return key


@click.command()
@click.argument("pairs", metavar="PAIRS")
@model_option
@spec_options
@refine_options
@machine_options
@submit_options
@click.option(
    "--priority",
    type=PRIORITIES,
    default=0,
    show_default=True,
    metavar="N",
    help="Jobs with higher priority run first.",
)
@chunk_size_option
@click.option(
    "--key",
    callback=own_key,
    metavar="TEXT",
    help="Idempotency key of the job: a second submit with the same key finds the job, or fails if pairs or "
    "settings differ.  [default: the hash of pairs and settings]",
)
@click.option("--wait", is_flag=True, help="Wait until the job ends, then show its results.")
@click.option(
    "--dry-run", is_flag=True, help="Check pairs and settings, show the job's size and cost, store nothing."
)
@with_broker
def submit(
    settings: Settings,
    /,
    pairs: str,
    device: str,
    batch_tokens: int | None,
    columns: dict[str, str],
    limit: int | None,
    name: str | None,
    priority: int,
    chunk_size: int | None,
    key: str | None,
    wait: bool,
    dry_run: bool,
    **spec: Any,
) -> int:
    """Submit the pairs in PAIRS to the queue; workers measure them with MODEL.

    Takes the options of `run`, but measures nothing itself. The job is stored completely or not at all, and
    only once: submitting the same pairs and settings again finds the existing job. --device and
    --batch-tokens are accepted and ignored.

    --dry-run tokenizes the pairs if the model's tokenizer is on this machine, and lists those that would
    fail; its exit code is the one the job would have. Otherwise the exit code is 0, or with --wait the job's.

    With --server the pairs are checked here, then uploaded. Retrying after a lost connection is safe: the job
    is stored only once.

    \b
    patchgrid submit pairs.jsonl -m openai-community/gpt2
    patchgrid worker start --model openai-community/gpt2    (on any machine)
    patchgrid job watch last
    """
    if device != "auto" or batch_tokens is not None:
        say("Note: --device and --batch-tokens are ignored: give them to `patchgrid worker start`")
    refinements = split_options(spec)
    measured = make_spec(**spec)
    check_model(measured.model)
    check_broker(settings.broker)
    with PairFile.open(pairs, limit=limit, columns=columns) as file:
        summary = file.check()
        for note in summary.notes:
            say(f"Note: {note}")
        if dry_run:
            return show_dry_run(settings, measured, file, summary, chunk_size, refinements)
        order = Order(measured, file, summary, name, key, priority, chunk_size, refinements)
        return _send(settings, order, wait=wait)


def _send(settings: Settings, order: Order, *, wait: bool) -> int:
    """Queue an order, report the result and, with `wait`, wait for the job."""
    with settings.backend(create=True) as source:
        submission = source.submit(order)
        snapshot, created = submission.snapshot, submission.created
        if not created and snapshot.job.state in FINISHED_JOBS:
            check_unchanged(snapshot.job, source.weights(snapshot.job))
        if created:
            _say_created(settings, source, snapshot)
        else:
            _say_known(settings, source, submission)
        note_name(snapshot.job, order.name)
        return _finish(settings, source, submission, wait=wait)


def is_folder(model: str) -> bool:
    """Tell whether a model is named by its folder, here or elsewhere."""
    return Path(model).is_absolute()


def _finish(settings: Settings, source: Backend, submission: Submission, *, wait: bool) -> int:
    snapshot, job_id = submission.snapshot, submission.snapshot.job.id
    if not wait:
        if settings.json:
            show_json(_document(submission))
        return DONE
    refuse_paused(settings, snapshot.job)
    try:
        with shown(settings, sys.stderr) as show:
            feed(show, source.follow(snapshot.job))
    except KeyboardInterrupt:
        say(f"Stopped waiting; job {job_id} continues: {settings.command(f'job watch {job_id}')}")
        return INTERRUPTED
    return show_outcome(settings, source, job_id, None)


def _document(submission: Submission) -> dict[str, Any]:
    snapshot, progress = submission.snapshot, submission.snapshot.progress
    return {
        "job": snapshot.job.id,
        "state": snapshot.job.state,
        "pairs": pair_counts(progress),
        "chunks": progress.chunks_total,
        "created": submission.created,
        "reopened": submission.reopened,
        "name": snapshot.job.name,
        "key": snapshot.job.key,
        "priority": snapshot.job.priority,
    }


def _say_created(settings: Settings, source: Backend, snapshot: Snapshot) -> None:
    job = snapshot.job
    name = f" ({visible(job.name)})" if job.name else ""
    chunks = counted(snapshot.progress.chunks_total, "chunk")
    say(f"Job {job.id}{name} is on the queue: {counted(job.pairs, 'pair')} in {chunks}")
    if is_folder(job.spec.model) and source.elsewhere:
        say(f"Note: workers load the model from the same path as here: {visible(job.spec.model)}")
    say_budget(job.spec, job.pairs, known=pace_of(settings, job.spec))
    if not snapshot.serving:
        say(f"No worker serves this model now: {start_command(settings, job.spec.model)}")
    source.wake(job.id)
    say(f"Follow it: {settings.command(f'job watch {job.id}')}")


def _say_known(settings: Settings, source: Backend, submission: Submission) -> None:
    """Say that the job was there, and what to do with it in the state it is in."""
    job, progress = submission.snapshot.job, submission.snapshot.progress
    state = "reopened after a cancel" if submission.reopened else job.state
    say(
        f"Already submitted as job {job.id}, {state}: {progress.done:,} of {counted(progress.total, 'pair')} "
        f"measured{not_measured(progress)}"
    )
    if job.state not in (*ENDED_JOBS, JobState.PAUSED):
        source.wake(job.id)
    words = {
        "done": ("Results", f"results top {job.id}"),
        "failed": ("Failed pairs", f"job errors {job.id}"),
        JobState.CANCELLED: ("To retry", f"job retry {job.id}"),
        JobState.PAUSED: ("To resume", f"job resume {job.id}"),
    }
    what, command = words.get(job.state, ("Follow it", f"job watch {job.id}"))
    say(f"{what}: {settings.command(command)}")
