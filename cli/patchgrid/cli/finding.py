"""Finding a job by what a person types."""

import click
from sqlalchemy.orm import Session

from patchgrid.storage import joblist, jobs
from patchgrid.storage.errors import JobNotFound
from patchgrid.storage.jobs import JobRecord

#: Stands for the job submitted last.
LAST = "last"

job_argument = click.argument("name", metavar="JOB")


def find_job(session: Session, name: str) -> JobRecord:
    """Give a job by id, by name if only one has it, or the newest for `last`."""
    if name != LAST:
        return jobs.get(session, name)
    newest = joblist.newest(session)
    if newest is None:
        raise JobNotFound("the database has no jobs yet: start one with patchgrid run PAIRS -m MODEL")
    return newest
