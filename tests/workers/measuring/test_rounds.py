"""Later rounds: cells that a request names are patched, once, and the job's sums hold for all rounds."""

import re
import threading

import numpy as np
import pytest
from sqlalchemy import func, select

from patchgrid.core.refinement import Refinement
from patchgrid.core.types import Component, JobSpec
from patchgrid.storage import Database, checking
from patchgrid.storage.errors import NothingToRefine
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.jobs import JobRecord
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.queue import control
from patchgrid.storage.results.components import ComponentRow, components
from patchgrid.storage.rounds.requests import list_refinements, refine
from patchgrid.storage.tables import exact
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import StandIn, effect_of, load, make_pairs
from support.workers.working import submit

#: Long enough that a share of 0.3 is less than all.
PAIRS = make_pairs(140)
SPECS = {
    "pairs": {},
    "by score": {"allocate": "score"},
    "two methods": {"method": "atp,relp"},
    "no scores kept": {"detail": "summary"},
    "positions": {"positions": "keep", "detail": "positions"},
    "positions, no scores kept": {"positions": "keep"},
    "edges": {"method": "eap", "sites": ("edge",)},
    "neurons": {"sites": ("z", "mlp_post")},
    "nothing exact": {"exact": 0.0},
    "nothing exact, positions": {"exact": 0.0, "positions": "keep"},
}
#: One of each kind that does not end where it began.
REQUESTS = (Refinement(exact=0.1), Refinement(top=2), Refinement(exact=0.05))


@pytest.fixture
def engine() -> StandIn:
    """Return a stand-in for a model."""
    return load(ModelKey("stand-in"))


def spec_of(**values: object) -> JobSpec:
    """Return a spec under which a part of the cells is patched."""
    return JobSpec.of("stand-in", **({"sites": ("z", "mlp_out"), "exact": 0.1} | values))


def refined(database: Database, engine: StandIn, job: JobRecord, *requests: Refinement) -> JobRecord:
    """Refine a job, one request after the other."""
    for request in requests:
        with database.write() as session:
            job = refine(session, job.id, request)
        run_job(database, engine, job)
    with database.read() as session:
        return jobs.get(session, job.id)


def rows_of(database: Database, job: JobRecord) -> list[ComponentRow]:
    """Return the job's components."""
    with database.read() as session:
        return components(session, job)


def cells(database: Database, job: JobRecord) -> list[dict[str, object]]:
    """Return the job's cells."""
    return list(export_rows(database, job, "exact"))


@pytest.mark.parametrize("values", SPECS.values(), ids=SPECS)
def test_sums_hold_for_all_rounds_and_nothing_is_patched_twice(
    database: Database, engine: StandIn, values: dict[str, object]
) -> None:
    """The check works all of them out again, from the cells with the chances that they had in any round."""
    job = submit(database, spec_of(**values), PAIRS)
    run_job(database, engine, job)
    for request in REQUESTS:
        before = cells(database, job) if job.patched else []
        job = refined(database, engine, job, request)
        after = cells(database, job)
        assert len({(row["pair"], row["component"]) for row in after}) == len(after) > len(before)
    assert checking.check(database.url).problems == ()
    with database.read() as session:
        assert session.scalar(select(func.max(exact.c.round))) == len(REQUESTS)
        assert [each.result for each in list_refinements(session, job.id) if each.finished_at is None] == []


def test_every_pair_of_named_components_is_patched(database: Database, engine: StandIn) -> None:
    """Their mean effect is then known."""
    job = submit(database, spec_of(), PAIRS)
    run_job(database, engine, job)
    job = refined(database, engine, job, Refinement(components=("a1.h2", "m0")))
    rows = {row.name: row for row in rows_of(database, job)}
    for name in ("a1.h2", "m0"):
        row = rows[name]
        own = [cell for cell in cells(database, job) if cell["component"] == name]
        assert row.exact_n == len(own) == len(PAIRS)
        assert row.estimate == pytest.approx(np.mean([cell["effect"] for cell in own]))
    assert min(row.exact_n for row in rows.values()) < len(PAIRS)


def effects_of(job: JobRecord) -> dict[str, float]:
    """Return each component's mean effect, from what the stand-in does."""
    names = [f"a{layer}.h{head}" for layer in range(2) for head in range(3)] + ["m0", "m1"]
    return {
        name: float(np.mean([effect_of(pair, Component.parse(name)) for pair in PAIRS[: job.pairs]]))
        for name in names
    }


@pytest.mark.parametrize("ranking", ["size", "signed"])
def test_a_certificate_names_the_components_of_largest_mean_effect(
    database: Database, engine: StandIn, ranking: str
) -> None:
    """All of what it says is true, and it says how it stands with every component."""
    job = submit(database, spec_of(exact=0.05), PAIRS)
    run_job(database, engine, job)
    job = refined(database, engine, job, Refinement(certify=3, ranking=ranking, max_exact=1))
    with database.read() as session:
        [record] = list_refinements(session, job.id)
    certificate = record.result
    assert certificate is not None
    truth = effects_of(job)
    size = {name: value if ranking == "signed" else abs(value) for name, value in truth.items()}
    largest = set(sorted(size, key=lambda name: -size[name])[:3])
    rows = {row["component"]: row for row in certificate["components"]}
    certain = {name for name, row in rows.items() if row["state"] == "in"}
    assert certificate["holds"]
    assert certain <= largest
    assert not largest & {name for name, row in rows.items() if row["state"] == "out"}
    assert sum(certificate["counts"].values()) == len(truth) == len(rows)
    # Effects are numbers of single precision.
    assert all(size[name] <= certificate["above"] + 1e-6 for name in truth.keys() - certain)
    assert certificate["cells"] <= certificate["cells_in_all"] == len(truth) * len(PAIRS)
    assert checking.check(database.url).problems == ()


def test_a_certificate_that_is_asked_for_again_patches_nothing(database: Database, engine: StandIn) -> None:
    """It is known; and what was patched counts for another one."""
    job = submit(database, spec_of(), PAIRS)
    run_job(database, engine, job)
    job = refined(database, engine, job, Refinement(certify=3, max_exact=1))
    before = cells(database, job)
    again = refined(database, engine, job, Refinement(certify=3, max_exact=1))
    assert cells(database, again) == before
    assert again.rounds == job.rounds
    assert checking.check(database.url).problems == ()


@pytest.mark.parametrize("pairs", [140, 130, 120])
def test_a_certificate_s_suggested_budget_is_enough(database: Database, engine: StandIn, pairs: int) -> None:
    """The share that the refusal names is taken: it is rounded up."""
    job = submit(database, spec_of(), PAIRS[:pairs])
    run_job(database, engine, job)
    with database.write() as session, pytest.raises(NothingToRefine) as refused:
        refine(session, job.id, Refinement(certify=2, max_exact=0.05))
    [share] = re.findall(r"--max-exact (0\.\d\d) or more", str(refused.value))
    with database.write() as session:
        refine(session, job.id, Refinement(certify=2, max_exact=float(share)))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Refinement(components=("a1.h9",)), "no component 'a1.h9': did you mean 'a1.h"),
        (Refinement(components=("q0.h1",)), "its sites are z, mlp_out"),
        (Refinement(certify=8, max_exact=1), "has only 8 components: certify fewer"),
        (Refinement(certify=2, max_exact=0.05), "give --max-exact 0."),
    ],
)
def test_what_cannot_be_refined_is_refused(
    database: Database, engine: StandIn, request_: Refinement, words: str
) -> None:
    """Nothing changes."""
    job = submit(database, spec_of(), PAIRS)
    run_job(database, engine, job)
    with database.write() as session, pytest.raises(NothingToRefine, match=words):
        refine(session, job.id, request_)
    with database.read() as session:
        assert jobs.get(session, job.id).state == "done"
        assert list_refinements(session, job.id) == []


@pytest.mark.parametrize("state", ["pending", "paused", "cancelled"])
def test_only_a_job_that_is_done_is_refined(database: Database, state: str) -> None:
    """The message says what to do first."""
    job = submit(database, spec_of(), PAIRS[:20])
    with database.write() as session:
        if state != "pending":
            {"paused": control.pause, "cancelled": control.cancel}[state](session, job.id)
        with pytest.raises(NothingToRefine, match="refine it when it is done"):
            refine(session, job.id, Refinement(top=2))


def test_a_round_that_is_cancelled_leaves_a_job_that_is_done(database: Database, engine: StandIn) -> None:
    """With what the round has patched so far; it can be refined again."""
    job = submit(database, spec_of(), PAIRS, chunk_size=20)
    run_job(database, engine, job)
    with database.write() as session:
        refine(session, job.id, Refinement(components=("a0.h0",)))
    stop = threading.Event()
    run_job(database, engine, job, stop=stop, on_progress=lambda now: stop.set() if now.done > 50 else None)
    with database.write() as session:
        control.cancel(session, job.id)
    with database.read() as session:
        job = jobs.get(session, job.id)
        assert job.state == "done"
        [record] = list_refinements(session, job.id)
        assert record.finished_at is not None
    patched = {row.name: row.exact_n for row in rows_of(database, job)}["a0.h0"]
    assert patched < len(PAIRS)
    assert checking.check(database.url).problems == ()
    job = refined(database, engine, job, Refinement(components=("a0.h0",)))
    assert {row.name: row.exact_n for row in rows_of(database, job)}["a0.h0"] == len(PAIRS)
    assert checking.check(database.url).problems == ()
