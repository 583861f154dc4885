"""Refining jobs from a notebook: the same on each backend."""

import pytest

from patchgrid.api import Workspace
from patchgrid.core.errors import PatchgridError, SpecError
from patchgrid.core.types import Pair
from patchgrid.storage import Database
from patchgrid.storage.jobs import jobs
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import load
from support.api.lab import Lab

PAIRS = [Pair(f"clean {row}", f"corrupted {row}", " a", " b") for row in range(60)]


def work(lab: Lab, job_id: int) -> None:
    """Measure what a job still lacks, as a worker would."""
    with Database.open(lab.database) as database:
        with database.read() as session:
            job = jobs.get(session, job_id)
        run_job(database, load(ModelKey("stand-in")), job)


def test_a_job_is_refined_and_certified(lab: Lab, workspace: Workspace) -> None:
    """Submitted with a refinement, then refined; each says what came of it."""
    job = workspace.submit(PAIRS, model="org/model", sites=["z", "mlp_out"], exact=0.1, exact_top=1)
    try:
        assert [each["state"] for each in job.refinements] == ["pending"]
        with pytest.raises(PatchgridError, match="refine it when it is done"):
            job.refine(top=2)
        with pytest.raises(LookupError, match="has no certificate"):
            job.certificate()
        work(lab, job.id)
        assert job.wait(progress=False).refine(components="a0.h0,a0.h1").state == "running"
        work(lab, job.id)
        frame = job.refresh().components()
        whole = dict(zip(frame["component"], frame["exact_n"], strict=True))
        assert whole["a0.h0"] == whole["a0.h1"] == 60
        assert job.refine(certify=3, max_exact=1).state == "running"
        work(lab, job.id)
        certificate = job.wait(progress=False).certificate()
        assert certificate["holds"]
        assert [each["kind"] for each in job.refinements] == ["top", "components", "certify"]
        assert sum(certificate["counts"].values()) == 8
    finally:
        job.delete()


def test_bad_refinements_are_refused(workspace: Workspace) -> None:
    """Before anything is asked where that is known."""
    job = workspace.job("shared")
    with pytest.raises(SpecError, match="0 given"):
        job.refine()
    with pytest.raises(SpecError, match="tolerance is a setting of certify"):
        job.refine(top=3, tolerance=0.1)
    with pytest.raises(SpecError, match="top must be a number"):
        job.refine(top="3")  # type: ignore[arg-type]
    with pytest.raises(PatchgridError, match="did you mean"):
        job.refine(components=["a9.h0"])
    with pytest.raises(SpecError, match="confidence is a setting of certify"):
        workspace.submit(PAIRS, model="org/model", confidence=0.9)
    assert job.refinements == []
