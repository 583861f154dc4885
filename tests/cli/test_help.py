"""Help, and what works without the packages that run models."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from patchgrid.cli import main
from patchgrid.core.methods import METHODS
from patchgrid.core.sites import SITES
from patchgrid.storage.output.export import FIELDS
from support.cli.commands import FinishedJob, patchgrid

TABLES = Path(__file__).parents[2] / "docs" / "tables.md"
HEAVY = (
    "torch",
    "transformers",
    "nnsight",
    "matplotlib",
    "pyarrow",
    "scipy",
    "numpy",
    "sqlalchemy",
    "alembic",
    "rich",
)


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with its words."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield (*path, name), command
            if isinstance(command, click.Group):
                yield from commands(command, (*path, name))


ALL = dict(commands(main))


def test_the_commands_are_those_of_the_design() -> None:
    """None is missing, none is hidden."""
    words = {" ".join(path) for path, command in ALL.items() if not isinstance(command, click.Group)}
    assert words == {
        *("run", "submit", "serve", "demo", "model check", "db upgrade", "db vacuum", "db check", "doctor"),
        *(f"job {name}" for name in ("list", "show", "errors", "watch", "wait", "delete", "prune")),
        *(f"job {name}" for name in ("pause", "resume", "cancel", "retry", "missed", "refine")),
        *("pairs check", "pairs convert"),
        *(f"token {name}" for name in ("create", "list", "revoke")),
        *(f"worker {name}" for name in ("start", "list", "drain")),
        *(
            f"results {name}"
            for name in ("top", "pair", "verify", "missed", "groups", "certificate", "plot", "export", "sql")
        ),
    }


def test_the_help_of_run_names_every_site_and_method() -> None:
    """Whatever is registered."""
    text = " ".join(option.help or "" for option in ALL["run",].params if isinstance(option, click.Option))
    assert [name for name in (*SITES, *METHODS) if f"{name} (" not in text] == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    """And the help can be printed."""
    command = ALL[path]
    assert command.help
    result = patchgrid(*path, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: patchgrid {' '.join(path)}")
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), parameter.name
    if not isinstance(command, click.Group):
        taken = {name for parameter in command.params for name in parameter.opts}
        assert {"--db", "--broker", "--json"} <= taken


def test_help_lists_commands_without_importing_them() -> None:
    """So that it answers at once."""
    check = (
        "import sys; from click.testing import CliRunner; from patchgrid.cli import main; "
        "result = CliRunner().invoke(main, ['--help']); assert 'doctor' in result.stdout; "
        "assert CliRunner().invoke(main, ['results', '--help']).exit_code == 0; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_slip_in_a_commands_name_is_told_the_right_one() -> None:
    """In groups too."""
    for wrong, right in ((("rnu",), "run"), (("results", "tpo"), "top"), (("job", "lst"), "list")):
        result = patchgrid(*wrong)
        assert result.exit_code == 2
        assert f"Did you mean '{right}'?" in result.stderr


def test_the_version_is_printed() -> None:
    """On stdout."""
    assert patchgrid("--version").stdout.startswith("patchgrid 0.")


#: Packages of the extras: the base install has none of them.
EXTRAS = (
    *("torch", "transformers", "nnsight", "safetensors", "einops", "tokenizers", "accelerate", "peft"),
    *("celery", "kombu", "redis", "amqp", "billiard", "vine"),
    *("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "multipart", "python_multipart"),
    *("psycopg", "pyarrow", "pandas", "polars", "matplotlib"),
)
#: Stands in front of everything and lets none of these be found.
BLOCK = f"""
import sys
EXTRAS = {EXTRAS!r}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""
#: Runs each line of its arguments as a command and prints the exit code and what it says on stderr.
RUN = """
import json, shlex, sys
from click.testing import CliRunner
from patchgrid.cli import main
from patchgrid.core.methods import METHODS
from patchgrid.core.sites import SITES
from patchgrid.storage.output.export import FIELDS
for line in sys.argv[1:]:
    result = CliRunner().invoke(main, shlex.split(line))
    print(json.dumps([result.exit_code, result.stderr]))
    assert "Traceback" not in result.output, result.output
assert not set(EXTRAS) & set(sys.modules)
"""


def base_install(database: Path, *lines: str) -> list[tuple[int, str]]:
    """Run commands where no extra is installed; their exit codes and stderr."""
    ran = subprocess.run(
        [sys.executable, "-c", BLOCK + RUN, *lines],
        capture_output=True,
        text=True,
        check=False,
        env={"PATCHGRID_DB": str(database)},
    )
    assert ran.returncode == 0, ran.stderr
    return [tuple(json.loads(line)) for line in ran.stdout.splitlines()]


def test_every_command_can_be_imported_by_the_base_install(tmp_path: Path) -> None:
    """Those that need an extra as well: their help says what they are for."""
    lines = [f"{' '.join(path)} --help" for path in ALL]
    assert base_install(tmp_path / "none.db", *lines) == [(0, "")] * len(lines)


def test_the_base_install_submits_and_looks_at_results(finished: FinishedJob, tmp_path: Path) -> None:
    """Without any extra, at the codes that the same commands have with all of them."""
    queue = f"--db {tmp_path}/queue.db"
    same = " ".join(map(str, finished.command[:4]))
    codes = {
        "job list": 0,
        "job show 1": 0,
        "job errors 1": 0,
        "job resume 1": 3,
        "results top 1": 0,
        "results pair 1 0": 0,
        "results verify 1": 0,
        "results export 1": 0,
        "results sql 'SELECT count(*) FROM job'": 0,
        "db check": 0,
        "job wait 1": 3,
        "worker list": 0,
        "worker list --prometheus": 0,
        "worker drain --all": 0,
        f"submit {finished.pairs} -m {finished.model} --dry-run": 0,
        f"submit {finished.pairs} -m org/model {queue}": 0,
        "job watch 1": 3,
        f"job pause 1 {queue}": 0,
        f"job resume 1 {queue}": 0,
        f"job cancel 1 {queue}": 0,
        f"job retry 1 {queue}": 0,
        "doctor": 0,
        # A finished job's results need no model.
        f"{same} --exact 0.3 --exact-per-component 30 --detail positions --sites z,mlp_out,resid_post": 3,
    }
    ran = base_install(finished.database, *codes)
    assert {line: code for line, (code, _) in zip(codes, ran, strict=True)} == codes, ran


def test_the_help_and_the_page_of_tables_list_the_fields_of_exports() -> None:
    """All of them, in order, for each kind of rows."""
    text = inspect.cleandoc(ALL["results", "export"].help or "")
    block = text.split("\b\n")[1].split("\n\n")[0]
    for (what, fields), (kind, listed) in zip(
        FIELDS.items(), re.findall(r"^(\w+) +(.+(?:\n +.+)*)", block, flags=re.MULTILINE), strict=True
    ):
        assert (kind, tuple(re.findall(r"\w+", re.sub(r"\(.*?\)", "", listed)))) == (what, fields)
        assert f"| `{what}` | {', '.join(f'`{field}`' for field in fields)} |" in TABLES.read_text("utf-8")


def test_what_needs_an_extra_says_which_in_one_line(finished: FinishedJob, tmp_path: Path) -> None:
    """Before anything is stored."""
    new, here = f"{finished.pairs} -m {finished.model} --seed 5", f"--db {tmp_path}/none.db"
    needs = {
        f"run {new}": ("model", "torch, nnsight"),
        f"demo --out {tmp_path}/out": ("model", "torch, nnsight"),
        f"model check {finished.model}": ("model", "torch, nnsight"),
        f"worker start -m {finished.model}": ("model", "torch, nnsight"),
        f"submit {new} --broker redis://localhost {here}": ("cluster", "celery, redis"),
        f"serve {here}": ("server", "fastapi, uvicorn"),
        "job list --db postgresql://localhost/x": ("postgres", "psycopg"),
        f"results plot 1 -o {tmp_path}/a.png": ("plot", "matplotlib"),
        f"results export 1 --format parquet -o {tmp_path}/a.parquet": ("parquet", "pyarrow"),
        f"pairs convert {finished.pairs} {tmp_path}/b.parquet": ("parquet", "pyarrow"),
    }
    for (extra, packages), (code, said) in zip(
        needs.values(), base_install(finished.database, *needs), strict=True
    ):
        assert code == 2, said
        (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
        assert packages in line
        assert f"pip install 'patchgrid[{extra}]'" in line
    assert not list(tmp_path.iterdir())
