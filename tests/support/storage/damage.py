"""Change a database behind the product's back, and ask the check about it."""

from sqlalchemy import Executable

from patchgrid.storage import Database, checking


def problems(url: str) -> str:
    """Return the check's findings, a line each."""
    return "\n".join(checking.check(url).problems)


def change(database: Database, statement: Executable) -> None:
    """Run one statement."""
    with database.write() as session:
        session.execute(statement)
