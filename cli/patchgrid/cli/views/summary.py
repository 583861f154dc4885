"""A job's summary at the end of a run, on screen or as JSON."""

from patchgrid.cli.context import Settings
from patchgrid.cli.errors import DONE, FAILED, SOME_FAILED
from patchgrid.cli.terminal.screen import counted, say, visible
from patchgrid.cli.views.agreement_table import show_agreement
from patchgrid.cli.views.component_table import say_intervals, show_components
from patchgrid.cli.views.refinement_view import show_refinements
from patchgrid.cli.views.rounding_notes import show_rounding
from patchgrid.cli.views.task_notes import show_task
from patchgrid.core.states import FINISHED_JOBS, JobState
from patchgrid.core.text.wording import seconds
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.jobs.progress import Progress
from patchgrid.storage.output.summary import Summary


def exit_code(job: JobRecord, progress: Progress) -> int:
    """Return a job's exit code: 0 done, 1 failed, cancelled or not ended, 3 done with some pairs failed."""
    if job.state != "done":
        return FAILED
    return SOME_FAILED if progress.failed else DONE


def show_summary(settings: Settings, summary: Summary, elapsed: float | None) -> None:
    """Print a job's results and where to see more."""
    say(_headline(summary.job, summary.progress, elapsed))
    show_task(summary.task)
    for text, count in summary.warnings:
        say(f"Note ({counted(count, 'pair')}): {visible(text)}")
    _say_errors(settings, summary)
    if summary.top:
        show_components(summary.top, title=_title(summary.job))
        say_intervals(summary.top, summary.coverage, summary.progress, job=summary.job)
        show_rounding(summary.rounding, summary.top, summary.job.spec.metric)
    if summary.verification:
        show_agreement(
            settings,
            summary.job,
            summary.verification,
            summary.cost,
            title="Scores against exact patching",
        )
    show_refinements(settings, summary.job, summary.refinements)
    if summary.job.state == "done":
        command = settings.command(f"results top {summary.job.id}")
        say(f"More: {command} (also pair, verify, plot, export, sql)")


def not_measured(progress: Progress) -> str:
    """Say how many pairs failed or were skipped, if any: `, 2 failed, 5 skipped`."""
    counts = (("failed", progress.failed), ("skipped", progress.skipped))
    return "".join(f", {count:,} {what}" for what, count in counts if count)


def _title(job: JobRecord) -> str:
    spec = job.spec
    methods = " + ".join(spec.query.method_names) if job.patched else spec.query.method_names[0]
    return f"Top components: {methods}, {spec.metric}, {spec.query.direction}"


def _headline(job: JobRecord, progress: Progress, elapsed: float | None) -> str:
    name = f" ({visible(job.name)})" if job.name else ""
    took = f" in {seconds(elapsed)}" if elapsed is not None else ""
    failed = not_measured(progress)
    if job.state not in FINISHED_JOBS:
        state = f" {job.state}" if job.state in (JobState.PAUSED, JobState.CANCELLED) else ""
        of = f"{progress.done:,} of {counted(progress.total, 'pair')}"
        return f"Job {job.id}{name}{state}: {of} measured{failed}"
    return f"Job {job.id}{name} {job.state}: {counted(progress.done, 'pair')} measured{took}{failed}"


def _say_errors(settings: Settings, summary: Summary) -> None:
    """Name the first failed pairs, and the command that shows them all."""
    if not summary.errors:
        return
    for pair, error in summary.errors:
        say(f"  pair {visible(pair)}: {visible(error)}")
    more = summary.progress.failed - len(summary.errors)
    if more > 0:
        say(f"  and {more:,} more: {settings.command(f'job errors {summary.job.id}')}")


def say_ended(settings: Settings, job: JobRecord, progress: Progress) -> None:
    """Say how a job ended and what to look at next."""
    say(_headline(job, progress, None))
    if job.error:
        say(f"  {visible(job.error)}")
    if job.state == "done":
        say(f"Results: {settings.command(f'results top {job.id}')}")
    if progress.failed:
        say(f"Failed pairs: {settings.command(f'job errors {job.id}')}")


def say_unfinished(settings: Settings, job: JobRecord, progress: Progress) -> None:
    """Say so when the results are not yet of all pairs, or there are none."""
    if job.state not in FINISHED_JOBS:
        say(f"Job {job.id} is not done: {progress.reached:,} of {counted(progress.total, 'pair')} so far")
    elif progress.skipped and not progress.done:
        say(f"No pair of job {job.id} was measured: the model gets all of them wrong (--only-correct)")
    elif not progress.done:
        say(f"All pairs of job {job.id} failed: {settings.command(f'job errors {job.id}')}")
