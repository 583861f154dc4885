"""Running the `patchgrid` command in tests, in this process or in one of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from click.testing import CliRunner, Result

from patchgrid.cli import main
from support.engine.vocabulary import NAMES

#: Options of the shared finished job: two kinds of sites, every position kept.
DETAILED = (
    "--name",
    "shared",
    "--detail",
    "positions",
    "--sites",
    "z,mlp_out,resid_post",
    "--exact",
    "0.3",
    "--exact-per-component",
    "30",
)


#: Variables that would change what commands do.
VARIABLES = ("PATCHGRID_DB", "PATCHGRID_DEBUG", "PATCHGRID_SERVER", "PATCHGRID_TOKEN")


@dataclass(frozen=True)
class FinishedJob:
    """A database that holds one finished job, and what made it."""

    database: Path
    pairs: Path
    model: Path
    #: The command's arguments.
    command: tuple[object, ...]
    #: What the command printed, and its exit code.
    result: Result

    def ask(self, *arguments: object) -> Result:
        """Run a command on this database."""
        return patchgrid(*arguments, "--db", self.database)

    def ask_json(self, *arguments: object) -> Any:
        """Run a command on this database and read the JSON that it prints."""
        result = self.ask(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def ask_items(self, *arguments: object) -> Any:
        """Run a command that prints a document with a list, and give the list."""
        return self.ask_json(*arguments)["items"]


def patchgrid(*arguments: object, text: str | None = None, charset: str = "utf-8") -> Result:
    """Run the command in this process."""
    runner = CliRunner(env=dict.fromkeys(VARIABLES), charset=charset)
    return runner.invoke(main, [str(argument) for argument in arguments], input=text)


def start(*arguments: object, stdout: int | IO[str] = subprocess.PIPE) -> "subprocess.Popen[str]":
    """Start the command in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "patchgrid.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment)


def refused(result: Result) -> str:
    """Check that a command was refused as it should be, and give the line that says why."""
    assert result.exit_code == 2, (result.exit_code, result.stdout, result.stderr)
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.stderr
    assert result.stderr.splitlines()[-1] == lines[0], "the error is the last thing said"
    return lines[0]


def write_pairs(path: Path, count: int, *, failing: int = 0) -> Path:
    """Write a file of indirect-object pairs, the last `failing` of them with answers of several tokens."""
    with path.open("w", encoding="utf-8") as file:
        for row in range(count + failing):
            first, second = NAMES[row % len(NAMES)], NAMES[(row + 1 + row // len(NAMES)) % len(NAMES)]
            second = second if second != first else NAMES[(row + 1) % len(NAMES)]
            prompt = f"When {first} and {second} went to the shop, {{}} gave a ball to"
            pair = {
                "id": f"pair-{row}",
                "clean": prompt.format(second),
                "corrupted": prompt.format(first),
                "correct": f" {first}" if row < count else " dogMary",
                "incorrect": f" {second}",
            }
            file.write(json.dumps(pair) + "\n")
    return path
