"""Jobs steered and waited for by the client."""

import threading
from pathlib import Path

import pytest

from patchgrid.api import Job, JobFailed, OutOfTime, Workspace
from patchgrid.api.client.http import errors, events
from patchgrid.core.errors import PatchgridError
from patchgrid.engine import Pair
from patchgrid.storage import Database
from patchgrid.storage.queue import control
from support.api.lab import Lab
from support.api.serving import serving
from support.cli.commands import start


def test_a_job_is_steered_and_shown(workspace: Workspace, waiting: Job) -> None:
    """With words that are escaped in a notebook."""
    assert waiting.pause().state == "paused"
    assert waiting.resume().state == "pending"
    assert waiting.cancel().ended
    assert waiting.retry().state == "pending"
    html = waiting._repr_html_() + workspace.jobs()._repr_html_()
    assert "&lt;b&gt;waiting&lt;br&gt;" in html
    assert "<b>" not in html
    assert repr(waiting) == f"<Job {waiting.id} (<b>waiting<br>) pending: 0 of 1 pairs measured>"
    assert [job.id for job in workspace.jobs(state="pending")] == [waiting.id]
    assert workspace.job().id == waiting.id
    with pytest.raises(LookupError, match="no job"):
        workspace.job("nobody")
    with pytest.raises(PatchgridError, match="is done"):
        workspace.job(1).pause()


def test_waiting_ends_with_the_time_or_with_the_reasons(
    lab: Lab, waiting: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that was cancelled, one that is not worked on, and one of which every pair fails."""
    with pytest.raises(OutOfTime, match=r"is still pending after 0\.5 s"):
        waiting.wait(timeout=0.5, progress=False)
    assert capsys.readouterr() == ("", "")

    def cancel() -> None:
        with Database.open(lab.database) as database, database.write() as session:
            control.cancel(session, waiting.id)

    timer = threading.Timer(0.5, cancel)
    timer.start()
    with pytest.raises(JobFailed, match=f"job {waiting.id} is cancelled"):
        waiting.wait()
    timer.join()
    assert waiting.state == "cancelled"
    assert "cancelled" in capsys.readouterr().err


def test_waiting_ends_with_the_time_where_no_word_comes(served: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the first of a server's events."""
    monkeypatch.setattr(events._Reader, "run", lambda _: None)
    job = Workspace(served.place).submit([Pair("a", "b", "c", "d")], model="org/model")
    with pytest.raises(OutOfTime):
        job.wait(timeout=0.5, progress=False)
    job.delete()


def test_a_server_that_is_gone_is_not_waited_for(served: Lab, tmp_path: Path) -> None:
    """Nobody would learn that it is."""
    with serving(f"sqlite:///{tmp_path / 'other.db'}", "-m", served.model) as server:
        job = Workspace(server.url).submit(served.given()[:2], model=str(served.model))
        server.kill()
        with pytest.raises(errors.ServerUnreachable):
            job.wait(timeout=60, progress=False)


def test_a_worker_s_job_is_waited_for(lab: Lab, workspace: Workspace, tmp_path: Path) -> None:
    """From pairs to a dataframe; and the reasons where every pair fails."""
    model = str(lab.model)
    job = workspace.submit(lab.given()[:4], model=model, name="small", sites="z", exact=0.5)
    failing = workspace.submit(lab.given()[10:], model=model, sites="z")
    options = ("-m", model, "--db", lab.database, "--poll", 0.2, "--max-chunks", 2)
    with start("worker", "start", *options) as worker:
        assert job.wait(progress=False, timeout=120) is job
        with pytest.raises(JobFailed, match="pair pair-10: ") as caught:
            failing.wait(timeout=120)
        assert workspace.workers()[0]["pid"] == worker.pid
        worker.communicate(timeout=120)
    assert [pair for pair, _ in caught.value.reasons] == ["pair-10", "pair-11"]
    assert len(job.top(3)) == 3
    assert model in workspace.models()
    job.delete()
    failing.delete()
