"""Jobs steered and waited for by the client."""

import threading
from pathlib import Path

import pytest

from patchgrid.api import Client, Job, JobFailed, OutOfTime
from patchgrid.api.client.http import errors, events
from patchgrid.storage import Database
from patchgrid.storage.queue import control
from support.api.lab import Lab
from support.api.serving import serving
from support.cli.commands import start


def test_a_job_is_steered_and_shown(client: Client, waiting: Job) -> None:
    """With words that are escaped in a notebook."""
    assert waiting.pause().state == "paused"
    assert waiting.resume().state == "pending"
    assert waiting.cancel().ended
    assert waiting.retry().state == "pending"
    html = waiting._repr_html_() + client.jobs()._repr_html_()
    assert "&lt;b&gt;waiting&lt;br&gt;" in html
    assert "<b>" not in html
    assert repr(waiting) == f"<Job {waiting.id} (<b>waiting<br>) pending: 0 of 1 pairs measured>"
    assert [job.id for job in client.jobs(state="pending")] == [waiting.id]
    assert client.job().id == waiting.id
    with pytest.raises(errors.NotThere, match="there is no job 'nobody'"):
        client.job("nobody")
    with pytest.raises(errors.NotNow, match="is done"):
        client.job(1).pause()


def test_waiting_ends_with_the_time_or_with_the_reasons(
    lab: Lab, waiting: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that was cancelled, one that is not worked on, and one of which every pair fails."""
    with pytest.raises(OutOfTime, match=r"is pending still: waited 0\.5 s"):
        waiting.wait(timeout=0.5, progress=False)
    assert capsys.readouterr() == ("", "")

    def cancel() -> None:
        with Database.open(f"sqlite:///{lab.database}") as database, database.write() as session:
            control.cancel(session, waiting.id)

    timer = threading.Timer(0.5, cancel)
    timer.start()
    with pytest.raises(JobFailed, match=f"job {waiting.id} is cancelled"):
        waiting.wait()
    timer.join()
    assert waiting.state == "cancelled"
    assert "cancelled" in capsys.readouterr().err


def test_waiting_ends_with_the_time_where_no_word_comes(
    waiting: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the first."""
    monkeypatch.setattr(events._Reader, "run", lambda _: None)
    with pytest.raises(OutOfTime):
        waiting.wait(timeout=0.5, progress=False)


def test_a_server_that_is_gone_is_not_waited_for(lab: Lab, tmp_path: Path) -> None:
    """Nobody would learn that it is."""
    with serving(f"sqlite:///{tmp_path / 'other.db'}", "-m", lab.model) as server:
        job = Client(server.url).submit(lab.given()[:2], model=str(lab.model))
        server.kill()
        with pytest.raises(errors.ServerUnreachable):
            job.wait(timeout=60, progress=False)


def test_a_worker_s_job_is_waited_for(lab: Lab, client: Client, tmp_path: Path) -> None:
    """From pairs to a dataframe; and the reasons where every pair fails."""
    model = str(lab.model)
    job = client.submit(lab.given()[:4], model=model, name="small", sites="z", exact=0.5)
    failing = client.submit(lab.given()[10:], model=model, sites="z")
    options = ("-m", model, "--db", lab.database, "--poll", 0.2, "--max-chunks", 2)
    with start("worker", "start", *options) as worker:
        assert job.wait(progress=False, timeout=120) is job
        with pytest.raises(JobFailed, match="pair pair-10: ") as caught:
            failing.wait(timeout=120)
        assert client.workers()[0]["pid"] == worker.pid
        worker.communicate(timeout=120)
    assert [pair for pair, _ in caught.value.reasons] == ["pair-10", "pair-11"]
    assert len(job.top(3)) == 3
    assert {each["model"] for each in client.models()} >= {model, "org/model"}
    job.delete()
    failing.delete()
