"""Help, and what works without the packages that run models."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from patchgrid.cli import main
from support.cli.commands import FinishedJob, patchgrid

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
    """Give every command with its words."""
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
        *(f"job {name}" for name in ("pause", "resume", "cancel", "retry")),
        *("pairs check", "pairs convert"),
        *(f"token {name}" for name in ("create", "list", "revoke")),
        *(f"worker {name}" for name in ("start", "list", "drain")),
        *(f"results {name}" for name in ("top", "pair", "verify", "plot", "export", "sql")),
    }


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


#: Stands in front of everything and lets none of these be found.
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "nnsight", "safetensors", "einops"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
"""
#: Runs each line of its arguments as a command and prints the exit codes.
RUN = """
import sys
from click.testing import CliRunner
from patchgrid.cli import main
for line in sys.argv[1:]:
    result = CliRunner().invoke(main, line.split())
    print(result.exit_code, line.split()[:2], result.stderr.replace(chr(10), " "))
    assert "Traceback" not in result.output
assert not {"torch", "transformers", "nnsight"} & set(sys.modules)
"""


def test_all_but_running_models_works_without_torch(finished: FinishedJob, tmp_path: Path) -> None:
    """The base install submits and looks at results; what needs a model says what to install."""
    asking = ["job list", "job show 1", "job errors 1", "job resume 1", "results top 1", "results pair 1 0"]
    asking += [
        "results verify 1",
        f"results plot 1 -o {tmp_path}/a.png",
        "results export 1",
        "db check",
        "job wait 1",
        "worker list",
        "worker list --prometheus",
        "worker drain --all",
        f"submit {finished.pairs} -m {finished.model} --dry-run",
        f"submit {finished.pairs} -m org/model --db {tmp_path}/queue.db",
        f"job watch 1 --db {finished.database}",
        f"job pause 1 --db {tmp_path}/queue.db",
        f"job resume 1 --db {tmp_path}/queue.db",
        f"job cancel 1 --db {tmp_path}/queue.db",
        f"job retry 1 --db {tmp_path}/queue.db",
        "doctor",
    ]
    again = (
        " ".join(map(str, finished.command[:4]))
        + " --exact 0.3 --detail positions --sites z,mlp_out,resid_post"
    )
    new = f"run {finished.pairs} -m {finished.model} --seed 5"
    lines = [*asking, again, new, f"demo --out {tmp_path}/out", f"model check {finished.model}"]
    lines.append(f"worker start -m {finished.model}")
    found = subprocess.run(
        [sys.executable, "-c", BLOCK + RUN, *lines],
        capture_output=True,
        text=True,
        check=True,
        env={"PATCHGRID_DB": str(finished.database)},
    )
    printed = found.stdout.splitlines()
    assert [line.split()[0] for line in printed[: len(asking)]] == [*"0003000000300000300000"], found.stdout
    assert printed[-5].startswith("3 "), "a finished job's results need no model"
    for line in printed[-4:]:
        assert line.startswith("2 ")
        assert "torch" in line
        assert "pip install 'patchgrid[worker]'" in line
