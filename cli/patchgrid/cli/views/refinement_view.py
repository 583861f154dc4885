"""Refinements on the screen: certificates as tables, others in a line."""

from collections.abc import Mapping, Sequence
from typing import Any

from patchgrid.cli.context import Settings
from patchgrid.cli.terminal.screen import say
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.core.text.number_format import beside, ends, number, percent
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.refinements import STATES, boundary_words, outcome_words
from patchgrid.storage.rounds.requests import RefinementRecord

#: Components that are certainly not among the largest, and are shown: the largest.
_SHOWN_OUT = 5


def show_refinement(settings: Settings, job: JobRecord, record: RefinementRecord) -> None:
    """Print what came of a refinement."""
    certificate = record.certificate
    if certificate is not None:
        _show_certificate(settings, job, record, certificate)
        return
    words = outcome_words(record)
    say(f"Job {job.id}, {record.request.options}: {words}")
    if record.state == "done":
        say(f"Results: {settings.command(f'results top {job.id}')}")


def show_refinements(settings: Settings, job: JobRecord, records: Sequence[RefinementRecord]) -> None:
    """Print a line for each of a job's refinements, and the latest certificate."""
    certificates = [record for record in records if record.certificate is not None]
    for record in records:
        if record not in certificates[-1:]:
            say(f"{record.request.options}: {outcome_words(record)}")
    for record in certificates[-1:]:
        show_refinement(settings, job, record)


def refinement_facts(records: Sequence[RefinementRecord]) -> list[tuple[str, object]]:
    """Return a line a refinement for the table of a job."""
    return [
        (f"refinement {record.number}", f"{record.request.options}: {outcome_words(record)}")
        for record in records
    ]


def _show_certificate(
    settings: Settings, job: JobRecord, record: RefinementRecord, found: Mapping[str, Any]
) -> None:
    signed = found["ranking"] == "signed"
    what = "mean effect" if signed else "|mean effect|"
    sure = f"{100 * found['confidence']:g} %"
    columns = [Column("component"), Column("state"), Column("estimate", number=True)]
    columns += [Column(f"{sure} confidence sequence", number=True), Column("patched", number=True)]
    show_table(columns, [_row(row) for row in _shown(found)], f"Top {found['k']} components by {what}")
    say(boundary_words(found).capitalize())
    say(f"No other component is above {number(found['above'])} ({sure})")
    cells = f"{found['cells']:,} of {found['cells_in_all']:,} cells"
    share = percent(found["uniform_cells"] / found["cells_in_all"])
    uniform = f"{found['uniform_cells']:,} ({share})"
    say(f"Patched {cells}; uniform sampling would have taken about {uniform}")
    if found["counts"]["tied"]:
        within = f"{100 * found['tolerance']:g} % of the one ranked {found['k']}"
        say(f"Tied components may change places with each other, with a difference of at most {within}")
    say(f"The certificate speaks of {found['assumes'].removeprefix('it speaks of ')}")
    _say_undecided(settings, job, record, found)


def _say_undecided(
    settings: Settings, job: JobRecord, record: RefinementRecord, found: Mapping[str, Any]
) -> None:
    """Say what is missing of a certificate that is not decided, and the command that resumes it."""
    if found["holds"]:
        return
    command = settings.command(f"job refine {job.id} {record.request.options}")
    if record.state == "running":
        say(f"Not decided yet: {settings.command(f'job watch {job.id}')}")
    elif record.state == "cancelled":
        say(f"Not decided: the refinement was cancelled; to resume: {command}")
    else:
        say(
            f"Not decided: another round would patch more than {percent(record.request.max_exact)} of all "
            f"cells; to continue, raise --max-exact: {command}"
        )


def _shown(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = found["components"]
    by_state = {state: [row for row in rows if row["state"] == state] for state in STATES}
    return [*by_state["in"], *by_state["tied"], *by_state["undecided"], *by_state["out"][:_SHOWN_OUT]]


def _row(row: Mapping[str, Any]) -> tuple[object, ...]:
    low, high = row["low"], row["high"]
    interval = "exact" if row["exact"] else ends(low, high)
    cells = row["pairs"] if row["exact"] else row["cells"]
    estimate = beside(row["estimate"], low, high)
    return row["component"], row["state"], estimate, interval, f"{cells:,} of {row['pairs']:,}"
