"""What tables share: their metadata, and columns that several of them have."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
)

from patchgrid.core.sites import INDEX_FIELDS

#: All tables.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: JSON in which None is NULL.
Json = JSON(none_as_null=True)


def pair_key_columns() -> tuple[Column[int], Column[int]]:
    """Return the primary key of a table that holds rows for each pair."""
    return (
        Column("job_id", Integer, primary_key=True, autoincrement=False),
        Column("pair_index", Integer, primary_key=True, autoincrement=False),
    )


def job_id_column(*, primary_key: bool = False) -> Column[int]:
    """Return the foreign key column of a row's job."""
    return Column("job_id", ForeignKey("job.id"), primary_key=primary_key, nullable=False)


def state_column(states: Iterable[str]) -> tuple[Column[str], CheckConstraint]:
    """Return a state column, and the constraint that it holds one of these states."""
    listed = ", ".join(f"'{state}'" for state in states)
    return (
        Column("state", String(16), nullable=False),
        CheckConstraint(f"state IN ({listed})", name="state"),
    )


def method_column() -> Column[str]:
    """Return the scoring method's column, part of the key."""
    return Column("method", String(16), primary_key=True)


def component_columns() -> tuple[Column[Any], ...]:
    """Return the columns of a component's place, without its position."""
    return (
        Column("site", String(32), nullable=False),
        # Its short name without a position.
        Column("component", Text, nullable=False),
        Column("layer", Integer, nullable=False),
        *(Column(field, Integer) for field in INDEX_FIELDS),
    )
