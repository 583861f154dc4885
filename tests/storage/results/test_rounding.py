"""The rounding floor in a database: summed over chunks, gone with its job."""

import dataclasses

import pytest
from sqlalchemy import select

from patchgrid.estimates import Rounding
from patchgrid.storage import Database, tables
from patchgrid.storage.jobs import jobs
from patchgrid.storage.queue import leases
from patchgrid.storage.results import components
from patchgrid.storage.results.rounding import (
    job_rounding,
    rounding_json,
    rounding_warning,
    shown_rounding,
)
from support.storage.chunk_results import chunk_result
from support.storage.storage_backends import run_job, submit_job


def test_chunks_add_up_and_go_with_their_job(database: Database) -> None:
    """In any order; a chunk that patched nothing has no row."""
    job = submit_job(database, 10)
    for effects in ([0.1, -0.2], [], [0.3]):
        with database.write() as session:
            lease = leases.claim(session, "worker", job_id=job.id)
            assert lease is not None
            result = dataclasses.replace(chunk_result(job, lease), rounding=Rounding.of(effects))
            assert leases.finish(session, lease, result)
    with database.write() as session:
        found = job_rounding(session, job)
        assert found.cells == 3
        assert found.floor == pytest.approx((0.14 / 3) ** 0.5)
        assert rounding_json(found) == {"floor": found.floor, "cells": 3}
        jobs.delete(session, job.id)
        assert session.execute(select(tables.rounding)).all() == []


def test_effects_near_the_floor_are_warned_about() -> None:
    """With what to do."""
    rounding = {"floor": 0.02, "cells": 5}
    assert rounding_warning(rounding, [0.1, 0.3, -0.15]) == (
        "the median effect shown is less than 10 times the rounding floor, ±0.02: "
        "use --dtype float32 for more precision"
    )
    assert rounding_warning(rounding, [0.3, 0.3]) is None
    assert rounding_warning(None, [0.3]) is None


def test_the_floor_is_said_where_it_matters(database: Database) -> None:
    """From a thousandth of the median effect on; the warning is for what is near it."""
    job = run_job(database, submit_job(database, 10))
    with database.read() as session:
        rows = components.top(session, job, 3)
    median = abs(sorted(rows, key=lambda row: abs(row.estimate or 0))[1].estimate or 0)

    def shown(share: float) -> tuple[str | None, bool]:
        found = shown_rounding({"floor": share * median, "cells": 1200}, rows, "logit_diff")
        assert found is not None
        assert (found["floor"], found["cells"]) == (share * median, 1200)
        return found["line"], found["warning"] is not None

    assert shown(0.0009) == (None, False)
    line = f"Rounding floor: ±{0.01 * median:.1g} logit_diff for one cell, measured on 1,200"
    assert shown(0.01) == (line, False)
    assert shown(0.11)[1]
    assert shown_rounding(None, rows, "logit_diff") is None
    assert shown_rounding({"floor": 1.0, "cells": 1}, [], "kl") == {
        "floor": 1.0,
        "cells": 1,
        "line": None,
        "warning": None,
    }
