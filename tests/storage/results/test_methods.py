"""A job under several methods: each has its scores, estimates and agreement, from the same exact effects."""

import numpy as np
import pytest

from patchgrid.core.errors import SpecError
from patchgrid.estimates import agreement
from patchgrid.storage import Database, checking, errors, tables
from patchgrid.storage.chunks.chunk_result import ExactCell
from patchgrid.storage.chunks.rows import exact_rows
from patchgrid.storage.output.export import export_rows
from patchgrid.storage.pair_results import pair_view
from patchgrid.storage.results import components, plots, verification
from support.storage.chunk_results import make_spec, pair_scores
from support.storage.storage_backends import run_job, submit_job

METHODS = ("atp", "relp", "ig")
SPEC = make_spec(method=",".join(METHODS), detail="positions")


def whole(index: int, site: str, method: str) -> np.ndarray:
    """Return a pair's scores over all positions, straight from their source."""
    return pair_scores(index, site, method).sum(axis=1)


def test_each_method_has_its_own_means(database: Database) -> None:
    """The job's first is meant where none is named."""
    job = run_job(database, submit_job(database, 9, spec=SPEC))
    with database.read() as session:
        rows = {method: components.components(session, job, method=method) for method in METHODS}
        assert components.components(session, job) == components.components(session, job, method="combined")
    for method in METHODS:
        for row in rows[method]:
            place = (row.layer,) if row.index is None else (row.layer, row.index)
            scores = [whole(index, row.site, method)[place] for index in range(9)]
            assert row.mean == pytest.approx(np.mean(scores, dtype=np.float64))
            assert row.exact_n == next(other.exact_n for other in rows["atp"] if other.name == row.name)


def test_all_methods_together_estimate_what_each_does(database: Database) -> None:
    """The stand-in's effects are a line of the first method's scores: the combined estimate finds it too."""
    job = run_job(database, submit_job(database, 120, spec=SPEC))
    with database.read() as session:
        first, together = (components.components(session, job, method=each) for each in ("atp", "combined"))
        changed = [one.estimate != other.estimate for one, other in zip(first, together, strict=True)]
        assert any(changed)
        for one, other in zip(first, together, strict=True):
            assert (one.name, one.mean, one.exact_n) == (other.name, other.mean, other.exact_n)
            assert other.estimate == pytest.approx(one.estimate, abs=1e-3)


def test_a_finished_jobs_answers_are_those_it_had_before(database: Database) -> None:
    """The totals of every method are stored."""
    job = submit_job(database, 4, spec=SPEC)
    done = run_job(database, job)
    with database.write() as session:
        totals = {method: components.top(session, done, 99, method=method) for method in METHODS}
        session.execute(components.total.delete())
        for method in METHODS:
            assert components.top(session, done, 99, method=method) == totals[method]


def test_the_cells_are_the_same_and_their_scores_each_methods_own(database: Database) -> None:
    """In pictures, in exports and in the view of one pair."""
    job = run_job(database, submit_job(database, 9, spec=SPEC))
    with database.read() as session:
        cells = {method: plots.cells(session, job, "z", method) for method in METHODS}
        rows = {method: list(export_rows(database, job, "exact", method)) for method in METHODS}
        view = pair_view.pair(session, job, 2, "ig")
    for method in METHODS:
        np.testing.assert_array_equal(cells[method].effect, cells["atp"].effect)
        np.testing.assert_array_equal(cells[method].inclusion, cells["atp"].inclusion)
        for row in rows[method]:
            place = (row["layer"],) if row["head"] is None else (row["layer"], row["head"])
            assert row["score"] == pytest.approx(whole(row["pair"], row["site"], method)[place])
    np.testing.assert_array_equal(view.scores["z"], pair_scores(2, "z", "ig"))
    assert (view.method, view.top) == ("ig", ())
    assert [cell.score for cell in view.exact] == [row["score"] for row in rows["ig"] if row["pair"] == 2]


def test_scores_of_each_method_can_be_exported(database: Database) -> None:
    """Those that were kept."""
    job = run_job(database, submit_job(database, 5, spec=SPEC))
    for method in METHODS:
        rows = list(export_rows(database, job, "scores", method))
        for row in rows[:: len(rows) // 40]:
            place = (row["layer"], row["position"], *([] if row["head"] is None else [row["head"]]))
            assert row["score"] == pair_scores(row["pair"], row["site"], method)[place]


def test_verification_has_a_row_a_site_and_method(database: Database) -> None:
    """Each from its own scores: the figures of the cells themselves."""
    job = run_job(database, submit_job(database, 30, spec=SPEC))
    with database.read() as session:
        rows = verification.verification(session, job)
        only = verification.verification(session, job, method="relp")
        cells = {(row.site, row.method): plots.cells(session, job, row.site, row.method) for row in rows}
    assert [(row.site, row.method) for row in rows] == [
        (site, method) for site in job.spec.query.sites for method in METHODS
    ]
    assert only == [row for row in rows if row.method == "relp"]
    for row in rows:
        found = cells[row.site, row.method]
        wanted = agreement(found.score, found.effect, found.inclusion)
        for name in ("n", "pearson", "spearman", "slope", "bias", "sign_agreement", "matter_n"):
            assert getattr(row, name) == pytest.approx(getattr(wanted, name), abs=1e-6), name
    by_first = [row.pearson for row in rows if row.method == "atp"]
    assert min(by_first) > max(row.pearson for row in rows if row.method != "atp")  # type: ignore[type-var]


def test_costs_are_those_of_all_chunks_by_method(database: Database) -> None:
    """A method's is what it would take alone: the runs that all share, and its own."""
    job = submit_job(database, 8, spec=SPEC)
    with database.read() as session:
        assert verification.cost(session, job).exact is None
    done = run_job(database, job)
    with database.read() as session:
        cost = verification.cost(session, done)
        effects = sum(len(plots.cells(session, done, site).effect) for site in job.spec.query.sites)
    assert cost.scores == dict.fromkeys(METHODS, pytest.approx(2 * 0.75 / 8 * 1000))
    assert (cost.exact, cost.effects) == (pytest.approx(2 * 2.0 / 8 * 1000), effects)


def test_a_method_the_job_does_not_have_is_refused(database: Database) -> None:
    """With those it has."""
    job = run_job(database, submit_job(database, 2, spec=SPEC))
    with database.read() as session:
        with pytest.raises(SpecError, match=r"unknown method of this job 'eap'.*available: atp, relp, ig"):
            components.top(session, job, method="eap")
        with pytest.raises(SpecError, match="did you mean 'relp'"):
            export_rows(database, job, "pairs", "rel")


def test_a_database_of_several_methods_is_whole(database: Database, url: str) -> None:
    """And a further score without its pair is found."""
    run_job(database, submit_job(database, 6, spec=SPEC))
    assert checking.check(url).problems == ()
    with database.write() as session:
        table = tables.method_score
        session.execute(table.update().where(table.c.pair_index == 3).values(pair_index=77))
    assert "rows of table method_score belong to pairs that do not exist" in checking.check(url).problems[0]


def test_damaged_sums_of_a_further_method_are_found(database: Database) -> None:
    """Only the questions about it fail."""
    job = submit_job(database, 6, spec=SPEC)
    run_job(database, job)
    with database.write() as session:
        table = components.total
        session.execute(table.update().where(table.c.method == "ig").values(data=b"PGB1"))
    with database.read() as session:
        assert components.top(session, job, method="atp")
        for method in ("ig", "combined"):
            with pytest.raises(errors.CorruptData):
                components.top(session, job, method=method)


@pytest.mark.parametrize(("methods", "scores"), [((), (0.5,)), (("relp",), ()), (("relp",), (0.5, 0.25))])
def test_a_cell_has_a_score_of_each_further_method(
    methods: tuple[str, ...], scores: tuple[float, ...]
) -> None:
    """Neither more nor fewer are stored in silence."""
    cell = ExactCell(0, "z", 0, 0, None, None, score=0.1, effect=0.2, inclusion=1.0, others=scores)
    with pytest.raises(ValueError, match="zip"):
        exact_rows(1, [cell], (), None, methods)
