"""Rows inserted past SQLAlchemy are there as they were given."""

import pytest
from sqlalchemy import select

from patchgrid.storage import Database
from patchgrid.storage.db.bulk import insert_rows
from patchgrid.storage.tables import exact, method_score, top_component


@pytest.mark.parametrize("count", [1, 4, 16, 37])
def test_rows_are_stored_as_given(database: Database, count: int) -> None:
    """Few and many, with columns that have a value in some rows, from the first on or not, or in none."""
    rows = [
        (
            *(1, cell // 7, cell, "z", f"a{cell}.h0", cell, 0, None),
            *(None if cell % 3 else cell, None if cell < 2 else "subject", 0.5 + cell, -0.25, 1.0),
            None if cell % 4 else 1,
        )
        for cell in range(count)
    ]
    with database.write() as session:
        insert_rows(session, (exact, rows))
    with database.read() as session:
        assert session.execute(select(exact).order_by(exact.c.cell)).all() == rows


@pytest.mark.parametrize("pairs", [2, 9])
def test_rows_of_several_tables_are_stored_at_once(database: Database, pairs: int) -> None:
    """Those of tables with few rows, with many and with none."""
    scores = [(7, pair, 0, "relp", float(pair), None) for pair in range(pairs)]
    top = [(7, 0, rank, "z", f"a{rank}.h0", rank, 0, None, 0.5) for rank in range(3)]
    with database.write() as session:
        insert_rows(session, (top_component, top), (method_score, scores), (exact, []))
    with database.read() as session:
        assert session.execute(select(method_score).order_by(method_score.c.pair_index)).all() == scores
        assert session.execute(select(top_component).order_by(top_component.c.rank)).all() == top
        assert session.execute(select(exact)).all() == []
