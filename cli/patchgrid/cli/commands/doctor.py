"""`patchgrid doctor`: check this machine."""

import click

from patchgrid.cli.context import Settings, with_broker
from patchgrid.cli.errors import DONE, FAILED
from patchgrid.cli.execution.health import FAIL, examine
from patchgrid.cli.terminal.screen import say, show_json
from patchgrid.cli.terminal.tables import Column, show_table


@click.command()
@with_broker
def doctor(settings: Settings, /) -> int:
    """Check this machine: packages, device, memory, threads, database, disk, and the broker if configured.

    Each line is ok, warn (works, but should be looked at) or fail, with what to do. Exit code 1 if a line
    says fail.
    """
    findings = examine(settings.url, settings.broker)
    failed = any(finding.status == FAIL for finding in findings)
    if settings.json:
        show_json(findings)
    else:
        columns = [Column("status"), Column("what"), Column("found"), Column("what to do")]
        show_table(columns, [(one.status, one.what, one.found, one.advice) for one in findings])
        say("Something is wrong: see the lines marked fail" if failed else "Ready")
    return FAILED if failed else DONE
