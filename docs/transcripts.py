"""Run the commands of a page's `console` blocks and put their output below them.

    python docs/transcripts.py docs/tutorial.md --model HuggingFaceTB/SmolLM2-135M-Instruct=smollm2

A line that begins with `$ ` is a command; what follows, up to the next command or the block's end, is its
output. All commands of a page run in one new folder with `examples/`, in order. With `--model ID=FOLDER`
that local folder stands for the hub's model ID. Progress lines become `…`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"(?<=```console\n)(.*?)(?=```)", re.DOTALL)
_PROGRESS = re.compile(r"(\n[\d,]+ of [\d,]+ pairs\b[^\n]*)+")
_TRAILING = re.compile(r" +$", re.MULTILINE)


def blocks(text: str) -> str:
    """Return the contents of a page's `console` blocks."""
    return "".join(_BLOCK.findall(text))


def commands(text: str) -> Iterator[str]:
    """Yield a page's commands, in order."""
    for block in _BLOCK.findall(text):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))


def workplace(folder: Path, models: dict[str, Path]) -> None:
    """Put the examples and the models that stand for the hub's into a folder."""
    for name in ("demo_model", "pairs"):
        shutil.copytree(ROOT / "examples" / name, folder / "examples" / name)
    for name, model in models.items():
        shutil.copytree(model, folder / name)


def run(command: str, folder: Path) -> str:
    """Return a command's output, stdout and stderr together."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    done = subprocess.run(  # noqa: S603
        ["bash", "-c", command],  # noqa: S607
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 3):
        sys.exit(f"{command}\n{done.stdout}exit code {done.returncode}")
    return _PROGRESS.sub("\n…", _TRAILING.sub("", done.stdout).replace(f"{folder}/", "")).strip("\n")


def renew(text: str, folder: Path) -> str:
    """Return a page with the current output of its commands."""

    def block(match: re.Match[str]) -> str:
        parts = []
        for command in commands(f"```console\n{match[0]}```"):
            output = run(command, folder)
            parts.append(f"$ {command}\n{output}\n" if output else f"$ {command}\n")
        return "".join(parts)

    return _BLOCK.sub(block, text)


def main() -> None:
    """Renew the pages named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--model", action="append", default=[], metavar="ID=FOLDER", help="may be repeated")
    options = parser.parse_args()
    models = {name: Path(folder) for name, folder in (each.split("=", 1) for each in options.model)}
    for page in options.pages:
        with tempfile.TemporaryDirectory() as name:
            workplace(Path(name), models)
            page.write_text(renew(page.read_text(encoding="utf-8"), Path(name)), encoding="utf-8")
        sys.stdout.write(f"wrote {page}\n")


if __name__ == "__main__":
    main()
