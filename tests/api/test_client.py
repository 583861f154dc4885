"""The client for notebooks, against a real server: submitting, waiting, dataframes, pictures."""

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest

from patchgrid.api import Client, Job, JobFailed, OutOfTime, ServerError
from patchgrid.api.client import errors, events, frames
from patchgrid.api.client.events import parse
from patchgrid.engine import Pair
from patchgrid.engine.errors import PatchgridError, SpecError
from patchgrid.pairs import PairFileError
from patchgrid.storage import Database, control
from patchgrid.storage.export import FIELDS
from support.commands import DETAILED, patchgrid, start, write_pairs
from support.method_jobs import fill
from support.models import save_model
from support.servers import free_port
from support.serving import Server, serving


@dataclass(frozen=True)
class Lab:
    """A served database with a finished job of twelve pairs, of which two failed."""

    database: Path
    model: Path
    pairs: Path
    server: Server

    def local(self, *arguments: object) -> Any:
        """Ask the database itself for JSON."""
        result = patchgrid(*arguments, "--db", self.database, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def rows(self, what: str) -> list[dict[str, Any]]:
        """Export from the database itself."""
        result = patchgrid("results", "export", 1, "--what", what, "--db", self.database)
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Serve a finished job of a real model."""
    folder = tmp_path_factory.mktemp("lab")
    model = save_model("gpt2", folder / "models").folder
    pairs = write_pairs(folder / "pairs.jsonl", 10, failing=2)
    database = folder / "jobs.db"
    assert patchgrid("run", pairs, "-m", model, "--db", database, *DETAILED).exit_code == 3
    with serving(str(database), "-m", model, "-m", "org/model") as server:
        yield Lab(database, model, pairs, server)


@pytest.fixture
def client(lab: Lab) -> Iterator[Client]:
    """Give a client of the server."""
    with Client(lab.server.url) as opened:
        yield opened


@pytest.fixture
def job(client: Client) -> Job:
    """Give the finished job."""
    return client.job("shared")


def as_rows(frame: Any) -> list[dict[str, Any]]:
    """Give a dataframe of either library as rows, with None for what is missing."""
    if isinstance(frame, pl.DataFrame):
        return frame.to_dicts()
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{name: _listed(value) for name, value in row.items()} for row in rows]


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("frame", ["pandas", "polars"])
@pytest.mark.parametrize("arrow", [True, False], ids=["parquet", "lines"])
@pytest.mark.parametrize("what", ["scores", "exact", "pairs"])
def test_exports_are_dataframes(
    lab: Lab, job: Job, what: str, arrow: bool, frame: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the rows that the command line exports; the same with pyarrow and without."""
    if not arrow:
        monkeypatch.setattr(frames, "is_installed", lambda name: name != "pyarrow")
    found = getattr(job, what)(frame=frame)
    assert isinstance(found, pd.DataFrame if frame == "pandas" else pl.DataFrame)
    assert tuple(found.columns) == FIELDS[what]
    expected = [row | {"pair": str(row["pair"])} for row in lab.rows(what)]
    assert as_rows(found) == expected


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_components_are_dataframes_of_whole_numbers_where_these_are(lab: Lab, job: Job, frame: str) -> None:
    """The strongest first, or all in order."""
    top = job.top(5, by="mean", frame=frame)
    assert as_rows(top) == [
        _without_edge(row) for row in lab.local("results", "top", 1, "-k", 5, "--by", "mean")
    ]
    every = as_rows(job.components(frame=frame))
    assert [{name: row[name] for name in FIELDS["components"]} for row in every] == lab.rows("components")
    assert {row["site"] for row in as_rows(job.components(site="z", frame=frame))} == {"z"}
    assert str(top["n"].dtype) == str(top["head"].dtype) == "Int64"
    aligned = job.components(kind="aligned", site="z", frame=frame)
    assert min(row["position"] for row in as_rows(aligned)) < -1
    wide = as_rows(job.top(1, by="mean", population=True, frame=frame))[0]
    assert wide["ci_high"] > as_rows(top)[0]["ci_high"]


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_components_are_searched_for_and_a_components_cells_asked_for(lab: Lab, job: Job, frame: str) -> None:
    """By the server: the rows are those of the whole lists."""
    every = as_rows(job.components(frame=frame))
    wanted = [row for row in every if row["component"].startswith("a1.h")]
    assert wanted
    assert as_rows(job.components(search="A1.", frame=frame)) == wanted
    largest = sorted(wanted, key=lambda row: -abs(row["mean"]))[:2]
    assert as_rows(job.top(2, by="mean", search="a1.", frame=frame)) == largest
    cells = job.exact(component="a1.h1", frame=frame)
    assert tuple(cells.columns) == FIELDS["exact"]
    rows = [row | {"pair": str(row["pair"])} for row in lab.rows("exact")]
    place = {"site": "z", "layer": 1, "head": 1}
    assert as_rows(cells) == [row for row in rows if row | place == row]
    assert len(cells) > 0
    assert len(job.exact(component="a9.h9", frame=frame)) == 0


def _without_edge(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "edge"}


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_verification_is_a_dataframe(lab: Lab, job: Job, frame: str) -> None:
    """A row a site."""
    assert as_rows(job.verification(top_k=3, frame=frame)) == lab.local("results", "verify", 1, "-k", 3)


def test_pandas_comes_first_and_a_missing_library_is_named(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked."""
    assert isinstance(job.top(1), pd.DataFrame)
    monkeypatch.setattr(frames, "is_installed", lambda name: name == "polars")
    assert isinstance(job.top(1), pl.DataFrame)
    with pytest.raises(errors.FramesMissing, match="pandas is not installed: pip install pandas"):
        job.scores(frame="pandas")
    monkeypatch.setattr(frames, "is_installed", lambda _: False)
    with pytest.raises(errors.FramesMissing, match=r"neither pandas nor polars .*patchgrid\[notebook\]"):
        job.top()
    with pytest.raises(errors.FramesMissing, match="'arrow'"):
        job.top(frame="arrow")


def test_several_methods_and_edges_are_told_apart(tmp_path: Path) -> None:
    """Edges by their names."""
    fill(f"sqlite:///{tmp_path}/jobs.db")
    with serving(str(tmp_path / "jobs.db")) as server, Client(server.url) as client:
        nodes, edges = client.job("nodes"), client.job("edges")
        assert set(nodes.verification()["method"]) == {"atp", "relp", "ig"}
        assert not nodes.scores("ig").equals(nodes.scores())
        assert "->" in edges.top(1)["edge"][0]
        assert "->" in edges.scores()["edge"][0]
        with pytest.raises(PatchgridError, match="--detail positions"):
            edges.scores("eap-ig")
        with pytest.raises(PatchgridError, match="method of this job"):
            nodes.top(method="eap")


def test_one_pair_is_given_with_its_arrays(job: Job) -> None:
    """By id or row."""
    view = job.pair("pair-3")
    assert view.index == 3
    assert view.scores["z"].dtype == np.float32
    assert view.scores["z"].shape[1] == len(view.tokens)
    assert job.pair(3).name == "pair-3"
    with pytest.raises(ServerError, match="has no pair 'nobody'"):
        job.pair("nobody")


def test_pictures_are_figures_that_notebooks_show(job: Job) -> None:
    """Of their own, or on axes that are given."""
    figure = job.plot()
    assert "z, atp, logit_diff" in figure.axes[0].get_title()
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert job.plot("positions", "mlp_out", pair="pair-3").axes[0].get_xlabel() == "token"
    outer, (left, right) = plt.subplots(1, 2)
    assert job.plot(ax=left) is outer
    assert job.plot("positions", ax=right) is outer
    assert left.images
    assert right.images
    outer.savefig(io.BytesIO())
    plt.close(outer)
    with pytest.raises(PatchgridError, match="has no heads"):
        job.plot("heads", "mlp_out")
    with pytest.raises(SpecError, match="picture"):
        job.plot("edges")
    with pytest.raises(PatchgridError, match="ax goes with heads, positions and exact"):
        job.plot("top", ax=left)


def test_pictures_look_as_they_are_asked_to(job: Job) -> None:
    """Every kind of them has a title, a scale, and dots an inch."""
    kinds: list[dict[str, Any]] = [{"what": what} for what in ("heads", "positions", "scatter", "top")]
    for options in (*kinds, {"what": "heads", "pair": 3}, {"what": "exact", "pair": 3}):
        figure = job.plot(**options, title="mine", vmax=0.5, dpi=50)
        axes = figure.axes[0]
        assert axes.get_title() == "mine", options
        high = axes.images[0].get_clim()[1] if axes.images else axes.get_xlim()[1]
        assert high == pytest.approx(0.525 if options["what"] == "top" else 0.5), options
        assert figure.dpi == 50


def test_the_strongest_components_are_those_of_top(job: Job) -> None:
    """Of all sites together, as the table ranks them; of one where it is named."""
    for site in (None, "mlp_out"):
        axes = job.plot("top", site).axes[0]
        names = [row["component"] for row in job.top(30, site=site, frame="polars").to_dicts()]
        assert [label.get_text() for label in axes.get_yticklabels()] == names


def given(lab: Lab) -> list[dict[str, Any]]:
    """The pairs of the finished job as dicts."""
    return [json.loads(line) for line in lab.pairs.read_text().splitlines()]


@pytest.mark.parametrize("kind", ["path", "str", "dicts", "pairs", "generator", "pandas", "polars"])
def test_pairs_of_every_kind_are_the_same_job(lab: Lab, client: Client, kind: str) -> None:
    """The one that the file made."""
    rows = given(lab)
    made: dict[str, Any] = {
        "path": lab.pairs,
        "str": str(lab.pairs),
        "dicts": rows,
        "pairs": [Pair(**row) for row in rows],
        "generator": (row for row in rows),
        "pandas": pd.DataFrame(rows),
        "polars": pl.DataFrame(rows),
    }
    options: dict[str, Any] = {"detail": "positions", "exact": 0.3}
    found = client.submit(
        made[kind], model=str(lab.model), sites=["z", "mlp_out", "resid_post"], name="shared", **options
    )
    assert (found.id, found.state) == (1, "done")
    assert found.progress == {"total": 12, "done": 10, "failed": 2, "skipped": 0}


def test_dataframes_may_lack_ids_and_have_lists_and_token_ids(client: Client) -> None:
    """What is missing in a column is missing in the pair."""
    columns = {
        "id": ["one", None],
        "clean": ["a b", "a c"],
        "corrupted": ["a d", "a e"],
        "correct": [[1, 2], [3]],
        "incorrect": [np.array([4]), np.array([5, 6])],
        "spans": [{"subject": (0, 1)}, None],
    }
    job = client.submit(pd.DataFrame(columns), model="org/model", name="frame")
    assert list(job.pairs()["pair"]) == ["one", "1"]
    assert job.info["spans"] == ["subject"]
    assert job.pair(0).pair.correct == (1, 2)
    job.delete()


def test_bad_pairs_and_settings_are_refused_before_anything_is_sent(client: Client) -> None:
    """Each pair named."""
    for pairs, message in (
        ([{"clean": "a"}, 7], "pairs:2: must be a Pair or a dict, not int"),
        ([{"clean": "a"}], "pairs:1: missing 'corrupted'"),
        ({"clean": "a"}, "a list of Pair or of dicts, or a dataframe"),
        (pd.DataFrame({"a": [1]}), "pairs:1"),
        ([], "is empty"),
        ("nowhere.jsonl", "no such file"),
    ):
        with pytest.raises(PairFileError, match=message):
            client.submit(pairs, model="org/model")
    with pytest.raises(SpecError, match="unknown site"):
        client.submit([], model="org/model", sites="heads")
    with pytest.raises(SpecError, match="layers"):
        client.submit([], model="org/model", layers=3)
    with pytest.raises(SpecError, match=r"unknown setting 'methods': did you mean 'method'\?"):
        client.submit([], model="org/model", methods="atp")
    with pytest.raises(SpecError, match="a setting is of a wrong kind"):
        client.submit([], model="org/model", exact="0.5")
    with pytest.raises(errors.NotAllowed, match="other/model"):
        client.submit([Pair("a", "b", "c", "d")], model="other/model")
    assert [job.name for job in client.jobs()] == ["shared"]


@pytest.fixture
def waiting(client: Client) -> Iterator[Job]:
    """Give a job that nobody works on."""
    job = client.submit([Pair("a", "b", "c", "d")], model="org/model", name="<b>waiting<br>")
    yield job
    job.delete()


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
        job = Client(server.url).submit(given(lab)[:2], model=str(lab.model))
        server.kill()
        with pytest.raises(errors.ServerUnreachable):
            job.wait(timeout=60, progress=False)


def test_a_worker_s_job_is_waited_for(lab: Lab, client: Client, tmp_path: Path) -> None:
    """From pairs to a dataframe; and the reasons where every pair fails."""
    model = str(lab.model)
    job = client.submit(given(lab)[:4], model=model, name="small", sites="z", exact=0.5)
    failing = client.submit(given(lab)[10:], model=model, sites="z")
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


def test_a_server_that_is_away_is_an_error_and_a_token_never_shown(lab: Lab) -> None:
    """Nor where the client itself is printed."""
    with pytest.raises(errors.ServerUnreachable, match="Connection refused"):
        Client(f"http://127.0.0.1:{free_port()}").jobs()
    with pytest.raises(errors.BadAddress):
        Client("127.0.0.1:8000")
    with pytest.warns(UserWarning, match="unencrypted"):
        client = Client("http://somewhere.invalid", token="pg_1_secret")
    assert "secret" not in repr(client) + str(vars(client)) + repr(vars(client)["_connection"].address)
    assert Client(lab.server.url).access()["open"] is True


def test_events_are_read_as_the_standard_says() -> None:
    """Comments, several lines of data, ids, and events that were cut off."""
    text = (
        "retry: 2000\n\n: a comment\n\nevent: job\nid: 1\ndata: a\ndata:b\n\nevent: end\ndata: c\n\ndata: cut"
    )
    found = [(event.name, event.data, event.id) for event in parse(text.split("\n"))]
    assert found == [("job", "a\nb", "1"), ("end", "c", "1")]


def test_the_client_needs_neither_torch_nor_a_server_s_packages(lab: Lab) -> None:
    """Nor is any of them imported with `patchgrid.api`."""
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'nnsight', 'fastapi', 'uvicorn'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import patchgrid.api\n"
        "assert not {'httpx', 'sqlalchemy', 'numpy'} & set(sys.modules)\n"
        "client = patchgrid.api.Client(sys.argv[1])\n"
        "job = client.job(1)\n"
        "print(len(job.top(3)), len(job.scores()), bool(job.plot()))\n"
    )
    words = [sys.executable, "-c", code, lab.server.url]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["3", "2520", "True"], done.stderr
