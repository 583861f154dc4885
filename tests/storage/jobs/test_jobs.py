"""Submitting, finding, following and deleting jobs."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from patchgrid.core.errors import SpecError
from patchgrid.core.means import Means
from patchgrid.core.methods import IG, RelP
from patchgrid.core.query import Query
from patchgrid.core.types import Pair, TextSpan, TokenPiece, TokenText
from patchgrid.engine import JobSpec
from patchgrid.estimates import Sums
from patchgrid.estimates.rounding import Rounding
from patchgrid.storage import Database, checking, errors, tables
from patchgrid.storage.access import tokens
from patchgrid.storage.access.idempotency import note_key
from patchgrid.storage.access.ownership import Submitter, add_owner
from patchgrid.storage.chunks.means import keep_first_means
from patchgrid.storage.jobs import jobs
from patchgrid.storage.jobs.progress import Progress, job_progress
from patchgrid.storage.queue import leases
from patchgrid.storage.sampling.pilot import keep_first_pilot
from support.storage.chunk_results import make_pairs, make_spec
from support.storage.storage_backends import all_jobs, run_chunk, run_job, submit_job


def test_a_submitted_job_is_as_it_was_given(database: Database) -> None:
    """Spec, spans, name and all, and not begun."""
    spec = make_spec(positions="keep", revision="main", prepend_bos=True, seed=2**63 - 1)
    job = submit_job(database, 10, spec=spec, spans=("subject", "verb"), name="mine", priority=2)
    assert (job.spec, job.spans, job.name, job.pairs) == (spec, ("subject", "verb"), "mine", 10)
    assert (job.state, job.started_at, job.finished_at, job.error) == ("pending", None, None, None)
    with database.read() as session:
        assert jobs.get(session, job.id) == job
        assert job_progress(session, job.id) == Progress(10, 0, 0, 0, 3, 0, 0, 3, 0, 0)


def test_pairs_come_back_as_they_were_given(database: Database) -> None:
    """Every kind of answer, spans in their order, any text."""
    pairs = [
        Pair("é 日本 \N{GRINNING FACE}", "a\nb\t", (" a", 3, TokenText(" b")), (TokenText(""),), id="first"),
        Pair("", " ", (0,), ("x", TokenPiece("Ġy")), spans={"z": (0, 1), "a": TextSpan(1, 3)}),
    ]
    job = submit_job(database, pairs=pairs)
    with database.write() as session:
        lease = leases.claim(session, "worker", job_id=job.id)
        assert lease is not None
        found = leases.chunk_pairs(session, lease)
    assert found == pairs
    assert list(found[1].spans or ()) == ["z", "a"]


def test_the_key_depends_on_the_pairs_and_every_part_of_the_spec() -> None:
    """And on nothing else: it is the same in any process."""
    spec = make_spec(method="ig,atp*")
    changed = {
        "model": "other",
        "revision": "abc",
        "sites": ("z",),
        "positions": "keep",
        "method": "atp*,ig",
        "metric": "kl",
        "direction": "noise",
        "exact": 0.25,
        "exact_per_component": 12,
        "allocate": "score",
        "seed": 1,
        "dtype": "bfloat16",
        "prepend_bos": False,
        "detail": "positions",
        "source": "mean",
        "steps": 6,
        "path": "site",
        "grad_drop": True,
        "only_correct": True,
    }
    assert changed.keys() == spec.as_dict().keys()
    keys = {jobs.job_key(spec.changed(**{name: value}), "pairs") for name, value in changed.items()}
    assert len(keys | {jobs.job_key(spec, "pairs"), jobs.job_key(spec, "other")}) == len(changed) + 2
    text = json.dumps({"pairs": "pairs", "spec": spec.identity()}, sort_keys=True, separators=(",", ":"))
    assert jobs.job_key(spec, "pairs") == hashlib.sha256(text.encode()).hexdigest()


def test_the_same_question_has_the_same_key_however_it_is_written() -> None:
    """Names as text or in any order of sites, numbers of any type, options given at their defaults."""
    spec = JobSpec.of("m", sites=("z", "mlp_out"), method=("ig", "relp"), steps=7, exact=1.0, seed=3)
    written = [
        JobSpec.of(
            "m", sites="mlp_out, z,z", method="ig, relp", steps=np.int64(7), exact=1, seed=np.uint8(3)
        ),
        JobSpec.of("m", method=[IG(steps=7), "relp"], exact=np.float64(1), seed=3, path="embedding"),
        JobSpec("m", Query(methods=(IG(7), RelP())), exact=1, seed=3),
        JobSpec.from_dict(json.loads(json.dumps(spec.as_dict()))),
        JobSpec.of("m", seed=3).changed(method="ig,relp", steps=7, exact=1),
        spec.changed(method="atp*", grad_drop=True).changed(method="ig,relp", steps=7),
    ]
    assert {jobs.job_key(each, "pairs") for each in written} == {jobs.job_key(spec, "pairs")}


def test_submitting_twice_gives_the_same_job(database: Database) -> None:
    """With the name it got the first time, and nothing written anew."""
    first = submit_job(database, name="first")
    assert submit_job(database, name="second") == first
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.pair)) == 10
        assert jobs.find_by_key(session, first.key) == first
        assert jobs.find_by_key(session, "other") is None


def test_the_same_key_gives_the_job_however_far_it_is(database: Database) -> None:
    """Its state is the present one."""
    done = run_job(database, submit_job(database))
    assert done.state == "done"
    assert submit_job(database) == done


@pytest.mark.parametrize("come", [0, 3, 5])
def test_pairs_other_than_announced_are_refused(database: Database, come: int) -> None:
    """Nothing is kept of the job."""
    with (
        pytest.raises(errors.PairsRefused, match=f"4 pairs were expected, {come} received"),
        database.write() as session,
    ):
        jobs.submit(session, make_spec(), make_pairs(come), key="key", count=4)
    assert_empty(database)


def test_text_that_is_not_unicode_is_refused(database: Database) -> None:
    """JSON can hold half a surrogate pair; a database cannot."""
    pair = Pair("\ud800", "b", ("c",), ("d",))
    with (
        pytest.raises(errors.PairsRefused, match="text that a database cannot store"),
        database.write() as session,
    ):
        jobs.submit(session, make_spec(), [pair], key="key", count=1)
    assert_empty(database)


def test_a_submit_reads_its_pairs_in_batches(database: Database) -> None:
    """Memory does not grow with the file: no pair is kept once it is written."""
    alive = 0
    most = 0

    class Counted(str):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def pairs() -> Iterator[Pair]:
        nonlocal alive, most
        for _ in range(10_000):
            alive += 1
            most = max(most, alive)
            yield Pair(Counted("clean"), "corrupted", (1,), (2,))

    with database.write() as session:
        jobs.submit(session, make_spec(), pairs(), key="key", count=10_000)
    assert most < 5_000


def test_jobs_are_found_by_id_and_by_name(database: Database) -> None:
    """An id goes before a name that looks like one."""
    first = submit_job(database, 3, name="mine")
    second = submit_job(database, 4, name="1")
    with database.read() as session:
        assert (
            jobs.get(session, first.id)
            == jobs.get(session, str(first.id))
            == jobs.get(session, "mine")
            == first
        )
        assert jobs.get(session, second.id) == second
        assert all_jobs(session) == [first, second]


@pytest.mark.parametrize("job", [7, "7", "other", "", "²", "9" * 30])
def test_a_job_that_does_not_exist_is_not_found(database: Database, job: int | str) -> None:
    """Whatever is given as its name."""
    submit_job(database)
    with database.read() as session, pytest.raises(errors.JobNotFound, match="patchgrid job list"):
        jobs.get(session, job)


def test_a_name_that_two_jobs_have_needs_an_id(database: Database) -> None:
    """The ids are given."""
    submit_job(database, 3, name="mine")
    submit_job(database, 4, name="mine")
    with database.read() as session, pytest.raises(errors.JobNotFound, match=r"give an id \(1, 2\)"):
        jobs.get(session, "mine")


def test_progress_counts_pairs_and_chunks(database: Database) -> None:
    """While it goes on and at the end."""
    job = submit_job(database)
    run_chunk(database, job, failed={1})
    with database.read() as session:
        assert job_progress(session, job.id) == Progress(10, 3, 1, 0, 3, 1, 0, 2, 0, 0)
        assert job_progress(session, job.id).left == 6
        assert jobs.get(session, job.id).state == "running"
    done = run_job(database, job, failed={9})
    with database.read() as session:
        assert job_progress(session, job.id) == Progress(10, 8, 2, 0, 3, 3, 0, 0, 0, 0)
    assert done.state == "done"
    assert done.started_at is not None
    assert done.finished_at is not None
    assert job.created_at <= done.started_at <= done.finished_at


def test_a_job_with_no_pair_done_has_failed(database: Database) -> None:
    """It says why; its results can be asked for all the same."""
    job = run_job(database, submit_job(database), failed=range(10))
    assert job.state == "failed"
    assert job.error == "every pair failed; first error: the prompts differ in length"


def test_failed_pairs_are_listed_by_name(database: Database) -> None:
    """Ids where they were given, else row numbers; in order."""
    plain = run_job(database, submit_job(database), failed={9, 2})
    named = run_job(database, submit_job(database, pairs=make_pairs(3, named=True)), failed={1})
    reason = "the prompts differ in length"
    with database.read() as session:
        assert jobs.errors(session, plain.id) == [(2, reason), (9, reason)]
        assert jobs.errors(session, named.id) == [("pair-1", reason)]


def test_warnings_are_counted(database: Database) -> None:
    """Each once, in order of its first pair."""
    job = run_job(database, submit_job(database), warned={1: "late", 5: "early", 7: "late"})
    with database.read() as session:
        assert jobs.warnings(session, job.id) == [("late", 2), ("early", 1)]


def test_deleting_a_job_removes_everything_of_it_and_nothing_else(database: Database) -> None:
    """Its provenance too, once no other job has the same."""
    spec = make_spec(method="atp,relp")
    first, second = submit_job(database, 5, spec=spec), submit_job(database, 6, spec=spec)
    run_job(database, first, rounding=Rounding.of([1e-6]))
    run_job(database, second, rounding=Rounding.of([1e-6]))
    with database.write() as session:
        mine, _ = tokens.create(session, "mine", ["submit"])
        for job in (first, second):
            by = Submitter(mine.id, f"submit of {job.id}")
            add_owner(session, job.id, by)
            assert note_key(session, by, job)
            keep_first_pilot(session, job.id, {"z": Sums.zeros((), sampled=False)})
            keep_first_means(session, job.id, Means({"z": np.zeros((1, 2), np.float32)}))
            add_round(session, job.id)
        jobs.delete(session, first.id)
    with database.read() as session:
        assert job_progress(session, second.id).done == 6
        for table in tables.metadata.sorted_tables:
            if "job_id" in table.c and table is not tables.worker:
                assert set(session.scalars(select(table.c.job_id))) == {second.id}, table.name
        assert session.scalar(select(func.count()).select_from(tables.provenance)) == 1
    with database.write() as session:
        jobs.delete(session, second.id)
        assert [each.name for each in tokens.list_tokens(session)] == ["mine"], "a token outlives its jobs"
        session.execute(tables.token.delete())
    assert_empty(database)


def add_round(session: Session, job_id: int) -> None:
    """Insert rows of a job into the tables of later rounds, and of subsets."""
    chunk_id = session.scalar(select(func.min(tables.chunk.c.id)).where(tables.chunk.c.job_id == job_id))
    of_job = {"job_id": job_id, "site": "z", "data": b""}
    session.execute(tables.refinement.insert().values(job_id=job_id, number=1, request={}, created_at=0.0))
    session.execute(tables.plan.insert().values(of_job | {"round": 1, "refinement": 1}))
    session.execute(tables.race.insert().values(of_job | {"chunk_id": chunk_id}))
    session.execute(tables.missed_design.insert().values(of_job | {"blocks": 16}))
    session.execute(tables.missed.insert().values(of_job | {"pair_index": 0, "round": 0}))


def test_a_deleted_jobs_ids_are_never_given_again(database: Database) -> None:
    """So that nothing of it can reach a later job."""
    first = submit_job(database)
    with database.write() as session:
        lease = leases.claim(session, "late")
        assert lease is not None
        jobs.delete(session, first.id)
    second = submit_job(database)
    assert second.id != first.id
    with database.write() as session:
        again = leases.claim(session, "worker")
        assert again is not None
        assert again.chunk_id != lease.chunk_id
        assert not leases.extend(session, lease)


def assert_empty(database: Database) -> None:
    """Check that no table has a row."""
    with database.read() as session:
        for table in tables.metadata.sorted_tables:
            assert session.scalar(select(func.count()).select_from(table)) == 0, table.name


def test_everything_written_passes_the_check(database: Database, url: str) -> None:
    """Jobs pending, running, done, failed; pairs that failed; a chunk given up."""
    submit_job(database, 3)
    run_chunk(database, submit_job(database, 9), failed={2})
    run_job(
        database, submit_job(database, 10, spec=make_spec(positions="keep", detail="positions")), failed={2}
    )
    run_job(database, submit_job(database, 4), failed=range(4))
    report = checking.check(url)
    assert report.problems == ()
    assert (report.jobs, report.chunks) == (4, 8)
    # A chunk has four sums and two scores, one of failed pairs alone neither.
    assert report.blobs == (4 + 2) + 3 * (4 + 2)


@pytest.mark.parametrize(
    ("count", "chunks"), [(9, 1), (31, 1), (32, 2), (60, 3), (200, 8), (512, 8), (1000, 16)]
)
def test_a_short_job_has_chunks_of_a_few_pairs(database: Database, count: int, chunks: int) -> None:
    """A kill loses an eighth of it at most; long jobs have chunks of 64."""
    with database.write() as session:
        job = jobs.submit(session, make_spec(), make_pairs(count), key="key", count=count)
    with database.read() as session:
        assert job_progress(session, job.id).chunks_total == chunks
    assert job.chunk_size <= 64


def test_the_keys_of_jobs_from_before_allocations_and_budgets_stay() -> None:
    """They were drawn by score, with thirty cells per component, and their specs say nothing of it."""
    for exact, draws in ((0.05, 30), (0.3, 30), (0.0, 0)):
        spec = JobSpec.of("gpt2", sites="z", allocate="score", exact=exact, exact_per_component=draws)
        before = spec.identity()
        assert before.keys() == spec.as_dict().keys() - {"allocate", "exact_per_component"}
        assert JobSpec.stored(before) == spec
        assert (spec.share, spec.draws("z"), spec.draws("mlp_post")) == (exact, draws, 0)


@pytest.mark.parametrize(
    ("values", "budget"),
    [
        ({}, (0.05, 30)),
        ({"exact": 0.05}, (0.05, 0)),
        ({"exact": None, "exact_per_component": 8}, (None, 8)),
        ({"exact": 0.1, "exact_per_component": 8}, (0.1, 8)),
        ({"exact": 0}, (0.0, 0)),
    ],
)
def test_a_share_is_a_budget_of_its_own(values: dict[str, float], budget: tuple[float | None, int]) -> None:
    """Cells per component come by default only where no share is given; what is stored says both."""
    spec = JobSpec.of("gpt2", sites="z", **values)
    assert (spec.exact, spec.exact_per_component) == budget
    assert spec.patches is bool(budget[0] or budget[1])
    for stored in (spec.as_dict(), spec.identity()):
        assert JobSpec.stored(json.loads(json.dumps(stored))) == spec
    assert JobSpec.from_dict(spec.as_dict()) == spec
    assert JobSpec.of("gpt2", sites="z", seed=3).changed(**values).exact == budget[0]


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"exact_per_component": 0}, "exact_per_component", "patches nothing exactly: set 1 or more"),
        ({"exact": 0, "exact_per_component": 3}, "exact", "exact_per_component is 3: omit one of them"),
        ({"exact_per_component": -1}, "exact_per_component", "from 0 to 1000000, not -1"),
        ({"exact_per_component": 2.5}, "exact_per_component", "must be a whole number, not 2.5"),
        (
            {"sites": "mlp_post", "exact_per_component": 3},
            "exact_per_component",
            "set a share, such as exact",
        ),
        ({"exact": float("nan")}, "exact", "from 0 to 1, not nan"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(values: dict[str, Any], field: str, words: str) -> None:
    """With what to do."""
    with pytest.raises(SpecError, match=words) as caught:
        JobSpec.of("gpt2", **values)
    assert caught.value.field == field
