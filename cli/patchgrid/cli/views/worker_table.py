"""Workers and their queues, on the screen."""

from collections.abc import Sequence
from typing import Any

import click

from patchgrid.cli.terminal.screen import visible
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.plain import plain
from patchgrid.core.states import WorkerState
from patchgrid.core.text.wording import ago, seconds, short_model, size
from patchgrid.storage.queue.metrics import ModelQueue
from patchgrid.storage.queue.workers import WorkerRecord


def show_queues(queues: Sequence[ModelQueue]) -> None:
    """Print the queue of each model."""
    columns = [Column("model"), Column("chunks pending", number=True), Column("leased", number=True)]
    columns += [Column("paused", number=True), Column("oldest pending", number=True)]
    columns += [Column("messages", number=True)]
    rows = [
        (
            *(short_model(queue.model), f"{queue.pending:,}", f"{queue.leased:,}", f"{queue.held:,}"),
            None if queue.oldest_seconds is None else seconds(queue.oldest_seconds),
            None if queue.messages is None else f"{queue.messages:,}",
        )
        for queue in queues
    ]
    show_table(columns, rows)
    for queue in queues:
        if queue.messages is not None:
            click.echo(f"{short_model(queue.model)}: queue {visible(queue.queue)}")


def show_workers(records: Sequence[WorkerRecord]) -> None:
    """Print a line a worker, and below them what those in trouble say."""
    columns = [Column("worker"), Column("state"), Column("model"), Column("device")]
    columns += [Column(title, number=True) for title in ("job", "chunk", "pairs/s", "memory", "seen")]
    show_table(columns, [_row(worker) for worker in records])
    for worker in records:
        if worker.message and worker.state != WorkerState.STOPPED:
            click.echo(f"{visible(short_name(worker))}: {visible(worker.message)}")


def short_name(worker: WorkerRecord) -> str:
    """Return the host and process of an unnamed worker, unique among live workers."""
    place = f"{worker.host}/{worker.pid}"
    return place if worker.name.startswith(f"{place}/") else worker.name


def worker_json(worker: WorkerRecord) -> dict[str, Any]:
    """Return a worker as JSON; its state is `lost` if its heartbeat is overdue."""
    document: dict[str, Any] = plain(worker)
    return document | {"state": state(worker)}


def state(worker: WorkerRecord) -> str:
    """Return a worker's state, `lost` if its heartbeat is overdue."""
    return "lost" if worker.lost else worker.state


def speed(worker: WorkerRecord) -> str | None:
    """Write its pairs per second."""
    rate = worker.pairs_per_second
    return None if rate is None else f"{rate:,.{2 if rate < 10 else 1}f} pairs/s"


def _row(worker: WorkerRecord) -> tuple[object, ...]:
    rate = speed(worker)
    more = f" +{len(worker.models) - 1}" if len(worker.models) > 1 else ""
    return (
        *(short_name(worker), state(worker), f"{short_model(worker.models[0])}{more}", worker.device),
        *(worker.job_id, worker.chunk_id),
        None if rate is None else rate.removesuffix(" pairs/s"),
        None if worker.memory_used is None else size(worker.memory_used),
        ago(worker.seen_ago),
    )
