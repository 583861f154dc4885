"""Jobs on the screen: a line each, or one in full."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.cli.views.agreement_table import show_agreement
from patchgrid.cli.views.chunk_notes import chunk_words, trouble_words
from patchgrid.cli.views.refinement_view import refinement_facts
from patchgrid.cli.views.summary import not_measured
from patchgrid.cli.views.task_notes import show_task
from patchgrid.cli.views.watching import start_command
from patchgrid.core.states import OPEN_JOBS
from patchgrid.core.text.wording import seconds, short_model, size
from patchgrid.storage.chunks.provenance import Provenance
from patchgrid.storage.jobs.chunk_notes import Troubles
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.documents import agreement_json
from patchgrid.storage.output.refinements import refinement_json
from patchgrid.storage.output.standing import Standing, standing_json
from patchgrid.storage.queue.job_status import Snapshot
from patchgrid.storage.results.site_agreement import SiteAgreement
from patchgrid.storage.results.verification import Cost
from patchgrid.storage.rounds.requests import RefinementRecord


def show_jobs(jobs: Sequence[tuple[JobRecord, Progress]]) -> None:
    """Print a line a job."""
    columns = [Column("id", number=True), Column("name"), Column("state"), Column("model")]
    columns += [Column("pairs done", number=True), Column("failed", number=True), Column("created")]
    rows = [
        (
            *(record.id, record.name, _state(record), short_model(record.spec.model)),
            *(f"{progress.done:,}/{progress.total:,}", f"{progress.failed:,}", moment(record.created_at)),
        )
        for record, progress in jobs
    ]
    show_table(columns, rows)


def _state(record: JobRecord) -> str:
    """Return a job's state, with the round of exact patching that it is in."""
    in_round = record.rounds and record.state in OPEN_JOBS
    return f"{record.state}, round {record.rounds}" if in_round else record.state


def moment(stamp: float | None) -> str | None:
    """Write a time in this machine's time zone, to the minute."""
    if stamp is None:
        return None
    return datetime.fromtimestamp(stamp, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def show_job(
    settings: Settings,
    standing: Standing,
    agreement: Sequence[SiteAgreement],
    cost: Cost,
    refinements: Sequence[RefinementRecord],
) -> None:
    """Print all that is known of a job but its components."""
    now, bad, made_by, warned = standing.now, standing.troubles, standing.made_by, standing.warnings
    record, progress = now.job, now.progress
    if settings.json:
        verification = [agreement_json(row, cost) for row in agreement]
        listed = [refinement_json(each, whole=False) for each in refinements]
        show_json(standing_json(standing) | {"verification": verification, "refinements": listed})
        return
    show_task(standing.task)
    facts = [
        *_facts(record, progress),
        *refinement_facts(refinements),
        ("owner", ", ".join(standing.owners) or None),
        ("rounding floor", _floor(record, standing)),
        *_queue_facts(settings, now, bad),
        *_spec_facts(record),
    ]
    for provenance in made_by:
        facts += _provenance_facts(provenance)
    facts += [("warning", f"{text} (pairs: {count:,})") for text, count in warned]
    show_table([Column(f"job {record.id}"), Column("")], facts)
    if len(made_by) > 1:
        say("Note: parts of this job were measured by different versions or on different devices")
    if agreement:
        show_agreement(settings, record, agreement, cost, title="Scores against exact patching")
    if progress.failed:
        say(f"Failed pairs: {settings.command(f'job errors {record.id}')}")


def _facts(record: JobRecord, progress: Progress) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("name", record.name),
        ("state", record.state if record.error is None else f"{record.state}: {record.error}"),
        (
            "pairs",
            f"{progress.total:,}: {progress.done:,} done{not_measured(progress)}, {progress.left:,} left",
        ),
        ("created", moment(record.created_at)),
        ("started", moment(record.started_at)),
        ("finished", moment(record.finished_at)),
    ]
    if record.started_at is not None and record.finished_at is not None:
        facts.append(("took", seconds(record.finished_at - record.started_at)))
    return [*facts, ("stored", size(record.bytes)), ("key", record.key)]


def _queue_facts(settings: Settings, now: Snapshot, bad: Troubles) -> Iterator[tuple[str, object]]:
    """Yield the state of its chunks, its workers, and the workers that cannot load its model."""
    yield ("chunks", chunk_words(now.progress))
    if words := trouble_words(bad):
        yield ("trouble", words)
    if now.ended:
        return
    yield ("priority", now.job.priority)
    for worker in now.at_work:
        yield ("worker", f"{worker.name} on {worker.device}, chunk {worker.chunk_id}")
    if not now.at_work:
        start = "" if now.serving else f": {start_command(settings, now.job.spec.model)}"
        yield ("worker", f"none working, {now.serving:,} serving its model{start}")
    for failure in now.load_failures:
        again = f" ({failure.attempts:,} attempts)" if failure.attempts > 1 else ""
        yield ("cannot load", f"{failure.worker}: {failure.error}{again}")


def _spec_facts(record: JobRecord) -> list[tuple[str, object]]:
    values = record.spec.as_dict() | {"sites": ", ".join(record.spec.query.sites)}
    facts = list(values.items())
    if record.spans:
        facts.append(("spans", ", ".join(record.spans)))
    return facts if record.groups is None else [*facts, ("groups", f"{record.groups:,}")]


def _floor(record: JobRecord, standing: Standing) -> str | None:
    rounding = standing.rounding
    return None if rounding is None else f"±{rounding['floor']:.1g} {record.spec.metric} for one cell"


def _provenance_facts(provenance: Provenance) -> list[tuple[str, object]]:
    versions = ", ".join(f"{package} {version}" for package, version in provenance.versions.items())
    return [
        ("made on", f"{provenance.device}, {provenance.dtype}"),
        ("made with", versions),
        ("commit", provenance.revision),
        ("weights", provenance.weights_hash),
        ("config", provenance.config_hash),
    ]
