"""Running a job in this process, and showing its results."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchgrid.api.client.engines import load_engine
from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.progress import shown_progress
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.terminal.stopping import GOES_ON, stop_on_signals
from patchgrid.cli.views.summary import exit_code, show_summary
from patchgrid.core.states import ENDED_JOBS, JobState
from patchgrid.core.types import JobSpec
from patchgrid.storage.output.summary import summary_json

if TYPE_CHECKING:
    from patchgrid.api.client.backends.backend import Backend
    from patchgrid.engine import Engine


@dataclass(frozen=True, slots=True)
class Machine:
    """What a job runs on: this changes how fast it is, not what it is."""

    #: `auto`, `cpu`, `cuda`, `cuda:1`.
    device: str = "auto"
    #: Padded tokens per batch, or None: auto-tuned.
    batch_tokens: int | None = None


def engine_for(spec: JobSpec, machine: Machine) -> "Engine":
    """Load the model that a spec asks for."""
    return load_engine(spec.model, revision=spec.revision, device=machine.device, dtype=spec.dtype, say=say)


def stop_and_bar() -> dict[str, Any]:
    """Yield what stops a run and what shows it."""
    return {"stop": stop_on_signals, "shown": shown_progress, "say": say}


def show_outcome(settings: Settings, source: "Backend", job_id: int, elapsed: float | None) -> int:
    """Print a job's results, finished or not; return the exit code."""
    summary = source.summary(job_id)
    if settings.json:
        show_json(summary_json(summary, elapsed or 0.0))
    else:
        show_summary(settings, summary, elapsed)
    if summary.job.state == JobState.PAUSED:
        say(f"Paused; to resume: {settings.command(f'job resume {job_id}')}")
    elif summary.job.state not in ENDED_JOBS:
        say(GOES_ON)
    return exit_code(summary.job, summary.progress)
