"""The README's commands and code run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from support.api.serving import serving
from support.cli.commands import start
from support.machines.pages import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shell_commands() -> list[str]:
    """The README's patchgrid commands, in order."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("patchgrid ")]


def test_the_readme_s_commands_run(workplace: Path) -> None:
    """Each ends well, in the order in which they stand, and the picture is there."""
    commands = shell_commands()
    assert len(commands) >= 7
    for command in commands:
        words = [sys.executable, "-m", "patchgrid.cli", *shlex.split(command, comments=True)[1:]]
        done = subprocess.run(words, cwd=workplace, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert (workplace / "heads.png").stat().st_size > 1000


def test_the_readme_s_python_runs(workplace: Path) -> None:
    """The notebook example, as it stands."""
    [code] = [block for block in blocks("python") if "Engine" in block]
    done = subprocess.run(
        [sys.executable, "-c", code + "\nprint(scores.shape, effects.shape)"],
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\(4, \d+, \d+\) \(1, 2\)", done.stdout)


def test_the_readme_s_commands_and_python_run_through_a_server(workplace: Path) -> None:
    """With a worker beside it."""
    url = "http://localhost:8000"
    commands = [
        line for block in blocks("bash") for line in block.splitlines() if url in line and "--server" in line
    ]
    [code] = [block for block in blocks("python") if url in block]
    assert len(commands) >= 3
    database, model = workplace / "served.db", ROOT / "examples" / "demo_model"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    worker = ("worker", "start", "-m", model, "--db", database, "--poll", "0.2")
    with serving(str(database), "-m", model) as server, start(*worker) as process:
        try:
            for command in commands:
                words = [
                    sys.executable,
                    "-m",
                    "patchgrid.cli",
                    *shlex.split(command.replace(url, server.url))[1:],
                ]
                done = subprocess.run(words, cwd=workplace, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            shown = code.replace(url, server.url) + "\nprint(len(job.top(20)), job.state)"
            words = [sys.executable, "-c", shown]
            done = subprocess.run(
                words, cwd=workplace, capture_output=True, text=True, check=False, env=environment
            )
        finally:
            process.terminate()
            process.communicate(timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "20 done"
