"""Finished jobs of several methods, of neurons, of edges and of spans, by a stand-in engine."""

from patchgrid.core.types import JobSpec
from patchgrid.storage import Database, tables
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import load, make_pairs
from support.workers.working import submit

SPECS = {
    "nodes": JobSpec.of("a", sites=("q", "k", "v", "z"), method="atp,relp,ig", exact=0.2),
    "neurons": JobSpec.of("a", sites=("z", "mlp_post"), exact=0.2),
    "edges": JobSpec.of("a", method="eap,eap-ig", exact=0.2),
    "every edge": JobSpec.of("a", method="eap", exact=0.2, detail="positions", positions="keep"),
    "summary": JobSpec("a", exact=0, detail="summary"),
}


def fill(url: str) -> None:
    """Put the jobs into a database, done and named."""
    with Database.open(url) as opened:
        for name, spec in SPECS.items():
            job = submit(opened, spec, make_pairs(40), key=name)
            run_job(opened, load(ModelKey("a")), job)
            with opened.write() as session:
                session.execute(tables.job.update().where(tables.job.c.id == job.id).values(name=name))
