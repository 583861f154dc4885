"""Several methods, neurons and edges on the command line, over jobs of a stand-in engine."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from patchgrid.core.types import JobSpec
from patchgrid.storage import Database, tables
from patchgrid.workers.measuring.models import ModelKey
from patchgrid.workers.runner import run_job
from patchgrid.workers.testing import GRAPH, load, make_pairs
from support.cli.commands import patchgrid, refused, write_pairs
from support.workers.working import submit

SITES = ("q", "k", "v", "z")
#: Jobs by name.
SPECS = {
    "nodes": JobSpec.of("a", sites=SITES, method="atp,relp,ig", exact=0.2),
    "neurons": JobSpec.of("a", sites=("mlp_post",), exact=0.2),
    "edges": JobSpec.of("a", method="eap,eap-ig", exact=0.2),
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database that holds the jobs, done."""
    path = tmp_path_factory.mktemp("methods") / "jobs.db"
    with Database.open(f"sqlite:///{path}") as opened:
        for name, spec in SPECS.items():
            job = submit(opened, spec, make_pairs(40), key=name)
            run_job(opened, load(ModelKey("a")), job)
            with opened.write() as session:
                session.execute(tables.job.update().where(tables.job.c.id == job.id).values(name=name))
    return path


def ask(database: Path, *arguments: object) -> Result:
    """Run a command on the database."""
    return patchgrid(*arguments, "--db", database)


def ask_json(database: Path, *arguments: object) -> Any:
    """Run a command that prints JSON."""
    result = ask(database, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_verify_compares_the_methods_site_by_site(database: Path) -> None:
    """In a table that fits a terminal, with what each cost below it; JSON says the same."""
    result = ask(database, "results", "verify", "nodes")
    lines = result.stdout.splitlines()
    table = lines[: lines.index("")]
    assert max(map(len, table)) <= 90
    header = ["site", "method", "patched", "Pearson", "slope"]
    assert table[0].split() == [*header, "same", "sign", "top", "k"]
    assert [line.split()[:2] for line in table[2:]] == [
        [site, method] for site in SITES for method in ("atp", "relp", "ig")
    ]
    assert "Per 1,000 pairs: atp 500 s, relp 500 s, ig 500 s, exact patching 2,000 s" in result.stderr
    rows = ask_json(database, "results", "verify", "nodes")["items"]
    assert [(row["site"], row["method"]) for row in rows] == [tuple(line.split()[:2]) for line in table[2:]]
    assert {(row["seconds"], row["exact_seconds"]) for row in rows} == {(500.0, 2000.0)}
    assert all(row["pearson"] > 0.99 for row in rows if row["method"] == "atp")


def test_verify_of_one_method_is_a_line_a_site(database: Path) -> None:
    """Its cost stands below."""
    result = ask(database, "results", "verify", "neurons")
    assert "method" not in result.stdout
    assert result.stdout.splitlines()[2].split()[0] == "mlp_post"
    assert "\nPer 1,000 pairs: atp 500 s, exact patching 2,000 s (" in result.stderr


@pytest.mark.parametrize(("job", "name"), [("nodes", "q"), ("neurons", "n1."), ("edges", "->")])
def test_components_have_the_names_the_field_gives_them(database: Path, job: str, name: str) -> None:
    """In the table, in a pair's own, and in JSON."""
    assert name in ask(database, "results", "top", job, "-k", 30).stdout
    assert name in ask(database, "results", "pair", job, 3, "-k", 30).stdout
    assert any(
        name in row["component"] for row in ask_json(database, "results", "top", job, "-k", 30)["items"]
    )


def test_top_shows_one_of_the_jobs_methods(database: Path) -> None:
    """The first unless another is named; one it does not have is refused."""
    rows = {
        method: {
            row["component"]: row for row in ask_json(database, "results", "top", "nodes", *options)["items"]
        }
        for method, options in {"first": (), "atp": ("--method", "atp"), "ig": ("--method", "ig")}.items()
    }
    assert rows["first"] == rows["atp"]
    shared = rows["atp"].keys() & rows["ig"].keys()
    assert shared
    assert all(rows["atp"][name]["mean"] != rows["ig"][name]["mean"] for name in shared)
    assert all(rows["atp"][name]["exact_n"] == rows["ig"][name]["exact_n"] for name in shared)
    message = refused(ask(database, "results", "top", "nodes", "--method", "atp*"))
    assert "unknown method of this job 'atp*': did you mean 'atp'? available: atp, relp, ig" in message


def test_edges_are_exported_with_their_names_in_every_format(database: Path, tmp_path: Path) -> None:
    """As the last field."""
    for what in ("components", "exact", "scores"):
        lines = ask(database, "results", "export", "edges", "--what", what).stdout.splitlines()
        rows = [json.loads(line) for line in lines]
        table = ask(database, "results", "export", "edges", "--what", what, "--format", "csv").stdout
        cells = list(csv.DictReader(io.StringIO(table)))
        assert tuple(rows[0])[-1] == tuple(cells[0])[-1] == "edge"
        assert [row["edge"] for row in rows] == [cell["edge"] for cell in cells]
        path = tmp_path / f"{what}.parquet"
        result = ask(
            database, "results", "export", "edges", "--what", what, "--format", "parquet", "-o", path
        )
        assert result.exit_code == 0, result.stderr
        if what == "components":
            assert [row["edge"] for row in rows] == list(GRAPH.names)


def test_an_export_of_scores_says_what_was_not_kept(database: Path) -> None:
    """Of edges a pair's largest twenty, by the first method."""
    result = ask(database, "results", "export", "edges", "--what", "scores")
    assert len(result.stdout.splitlines()) == 40 * 20
    assert (
        "edge: only each pair's 20 largest scores were stored (--detail positions stores all)"
        in result.stderr
    )
    assert "--detail positions" in refused(
        ask(database, "results", "export", "edges", "--what", "scores", "--method", "eap-ig")
    )
    assert not ask(database, "results", "export", "nodes", "--what", "scores", "--method", "ig").stderr


PICTURES = {
    "key-value heads": ("nodes", "--site", "k", "--method", "ig"),
    "a pair's queries": ("nodes", "--site", "q", "--pair", 3),
    "positions of values": ("nodes", "--what", "positions", "--site", "v"),
    "the top of heads": ("nodes", "--what", "top", "--method", "relp"),
    "neurons": ("neurons",),
    "edges": ("edges", "--method", "eap-ig"),
    "scatter of edges": ("edges", "--what", "scatter", "--method", "eap-ig"),
}


@pytest.mark.parametrize("options", PICTURES.values(), ids=PICTURES)
def test_every_site_has_a_picture(database: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    """Heatmaps where there are heads, bars of the strongest where there are too many components."""
    path = tmp_path / "a.svg"
    result = ask(database, "results", "plot", *options, "-o", path)
    assert result.exit_code == 0, result.stderr
    text = path.read_text()
    method = next((option for option in options if option in ("ig", "relp", "eap-ig")), None)
    assert method is None or f", {method}, logit_diff" in text
    if options == ("edges", "--method", "eap-ig"):
        assert "-&gt;" in text or "->" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("edges", "--what", "heads"), "site 'edge' has no heads: draw it with --what top"),
        (("edges", "--what", "positions"), "draw them with --what top, or see `patchgrid results top`"),
        (("neurons", "--what", "positions"), "run it with --positions keep"),
        (("edges", "--what", "top", "--pair", "3"), "the strongest components are of all pairs"),
    ],
)
def test_a_picture_that_cannot_be_is_refused(
    database: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """With one that can."""
    assert message in refused(ask(database, "results", "plot", *options, "-o", tmp_path / "a.png"))


def test_a_job_is_shown_with_all_its_methods(database: Path) -> None:
    """And a question in SQL reaches what they left."""
    text = ask(database, "job", "show", "nodes").stdout
    assert "atp,relp,ig" in text
    assert len(ask_json(database, "job", "show", "nodes")["verification"]) == 12
    query = "SELECT method, count(*) FROM method_score WHERE job_id = 1 GROUP BY method ORDER BY method"
    assert [line.split()[0] for line in ask(database, "results", "sql", query).stdout.splitlines()[2:]] == [
        "ig",
        "relp",
    ]
    spent = "SELECT method, sum(seconds) FROM cost WHERE job_id = 1 GROUP BY method ORDER BY method"
    lines = ask(database, "results", "sql", spent).stdout.splitlines()[2:]
    wanted = {"atp": "10", "exact": "80", "ig": "10", "relp": "10", "shared": "10"}
    assert dict(line.split() for line in lines) == wanted


SETTINGS = {
    "two kinds": (("--method", "atp,eap"), "eap scores edges and atp scores nodes"),
    "a site of edges": (("--method", "atp", "--sites", "edge"), "atp scores nodes, not edges"),
    "steps": (("--method", "ig", "--steps", "0"), "steps must be from 1 to 4096, not 0"),
    "path": (("--path", "site"), "path is an option of ig, not of atp"),
    "grad drop": (("--grad-drop",), "grad_drop is an option of atp*, not of atp"),
    "source": (("--source", "men"), "unknown source 'men': did you mean 'mean'?"),
}


@pytest.mark.parametrize(("options", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_do_not_go_together_are_refused(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """Before anything is loaded or stored."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 2)
    result = patchgrid("submit", pairs, "-m", "nobody/nothing", "--db", tmp_path / "a.db", *options)
    assert message in refused(result)
    assert not (tmp_path / "a.db").exists()


def test_a_submitted_job_has_its_settings(tmp_path: Path) -> None:
    """The same settings find it again; others are another job."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 2)
    command = ("submit", pairs, "-m", "nobody/nothing", "--db", tmp_path / "a.db")
    settings = ("--method", "ig, atp*", "--steps", "9", "--path", "site", "--grad-drop", "--source", "zero")
    job = json.loads(patchgrid(*command, *settings, "--json").stdout)["job"]
    spec = json.loads(patchgrid("job", "show", job, "--db", tmp_path / "a.db", "--json").stdout)["spec"]
    assert (spec["method"], spec["steps"], spec["path"]) == ("ig,atp*", 9, "site")
    assert (spec["grad_drop"], spec["source"]) == (True, "zero")
    assert json.loads(patchgrid(*command, *settings, "--json").stdout)["job"] == job
    assert json.loads(patchgrid(*command, "--json").stdout)["job"] != job
    taken = patchgrid(*command, "--key", "mine")
    assert taken.exit_code == 0
    message = refused(patchgrid(*command, "--key", "mine", "--method", "ig", "--steps", "9"))
    assert "method atp, not ig" in message


def test_a_large_share_of_very_many_components_is_noted(tmp_path: Path) -> None:
    """With what would do; a small one passes in silence."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 2)
    command = ("submit", pairs, "-m", "nobody/nothing", "--db", tmp_path / "a.db", "--method", "eap")
    assert "Note: edge has very many components, and 5 % of all cells" in patchgrid(*command).stderr
    assert "Note: edge" not in patchgrid(*command, "--exact", "0.001").stderr


def test_a_dry_run_counts_components_and_cells_by_site(tiny_model: Path, tmp_path: Path) -> None:
    """From the model's configuration, without loading it."""
    pairs = write_pairs(tmp_path / "pairs.jsonl", 10, failing=2)
    command = ("submit", pairs, "-m", tiny_model, "--dry-run", "--json", "--exact", "0.1")
    nodes = json.loads(patchgrid(*command, "--sites", "k,mlp_post,mlp_out", "--method", "atp,ig").stdout)
    assert [(each["site"], each["components"]) for each in nodes["sites"]] == [
        ("k", 12),
        ("mlp_post", 3 * 48),
        ("mlp_out", 3),
    ]
    assert [each["cells"] for each in nodes["sites"]] == [120, 1440, 30]
    assert [each["share"] for each in nodes["sites"]] == pytest.approx([0.1] * 3)
    assert nodes["passes"] == {"atp": 3, "ig": 12}
    edges = json.loads(patchgrid(*command, "--method", "eap").stdout)
    [counted] = edges["sites"]
    assert (counted["site"], counted["exact"]) == ("edge", round(0.1 * 10 * counted["components"]))
    kept = json.loads(patchgrid(*command, "--positions", "keep", "--sites", "z").stdout)
    assert kept["sites"][0]["cells"] == 12 * 10 * 14
