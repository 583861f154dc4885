"""Reading what patchgrid is deployed by: shell commands, a Dockerfile, Slurm scripts, compose variables."""

import re
import shlex
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import click

from patchgrid.cli import main
from support.machines.slurm import SBATCH_OPTIONS

#: An image by its full version: `postgres:17.11-bookworm`, and not `postgres:17` or `latest`.
EXACT_IMAGE = r"[\w./-]+:\d+\.\d+(\.\d+)?-[\w.-]+(@sha256:[0-9a-f]{64})?"
_OPERATORS = frozenset("();<>|&")
#: Words before which a command may stand.
_WRAPPERS = ("exec", "nice", "time", "srun", "--", "!", "if", "then", "do", "{")


def command_lines(shell: str) -> Iterator[list[str]]:
    """Yield the simple commands of shell text: words without redirections, comments and assignments."""
    lines = iter(shell.replace("\\\n", " ").splitlines())
    for line in lines:
        while (tokens := _tokens(line)) is None:
            line += "\n" + next(lines)
        words: list[str] = []
        skip = False
        for token in [*tokens, ";"]:
            if skip:
                skip = False
            elif token and set(token) <= _OPERATORS:
                if {"<", ">"} & set(token):
                    skip = True
                    words = words[:-1] if words and words[-1].isdigit() else words
                elif words:
                    yield words
                    words = []
            else:
                words.append(token)


def patchgrid_commands(shell: str) -> Iterator[list[str]]:
    """Yield the words after `patchgrid` of each of its commands in shell text."""
    for words in command_lines(shell):
        if words[0] == "docker" and "run" in words and "migrate" in words:
            yield words[words.index("migrate") + 1 :]
        for place, word in enumerate(words):
            before = words[:place]
            if word == "patchgrid" and (
                all(re.fullmatch(r"[A-Z_]+=.*", each, re.DOTALL) for each in before)
                or before[-1] in _WRAPPERS
                or before[:3] == ["docker", "compose", "exec"]
            ):
                yield words[place + 1 :]


def check_command(words: list[str], *, whole: bool = True) -> None:
    """Raise `click.UsageError` for what the command line does not take; if not `whole`, values may lack."""
    command: click.Command = main
    context = click.Context(main, info_name="patchgrid")
    while isinstance(command, click.Group):
        _, words, _ = command.make_parser(context).parse_args(list(words))
        if not words:
            return
        name, child, words = command.resolve_command(context, words)
        assert child is not None
        command, context = child, click.Context(child, info_name=name, parent=context)
    if not whole:
        _check_names(command, context, words)
        return
    values, left, _ = command.make_parser(context).parse_args(list(words))
    if left:
        raise click.UsageError(f"{context.command_path} takes no {left}")
    for option in command.get_params(context):
        value = values.get(option.name or "")
        if option.required and not isinstance(value, str | tuple | list):
            raise click.UsageError(f"{context.command_path} needs {option.name}")
        texts = value if isinstance(value, list | tuple) else [value]
        for text in texts:
            if isinstance(text, str) and "$" not in text and not isinstance(option.type, click.Path):
                option.type.convert(text, option, context)


def check_page(page: Path) -> int:
    """Check the commands in a page's shell blocks and those named in its text; give how many blocks have."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(sh|bash|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    shell = "".join(
        code if language != "console" else "".join(re.findall(r"^\$ (.*\n)", code, re.MULTILINE))
        for language, code in blocks
    )
    commands = list(patchgrid_commands(shell))
    for words in commands:
        check_command(words)
    for words in command_lines(shell):
        if words[0] == "sbatch":
            names = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert names <= SBATCH_OPTIONS.keys(), names
    for inline in re.findall(r"`patchgrid ([^`]+)`", text):
        check_command(inline.split(), whole=False)
    return len(commands)


def option_value(words: list[str], name: str) -> str:
    """Return the word after an option."""
    return words[words.index(name) + 1]


def _check_names(command: click.Command, context: click.Context, words: list[str]) -> None:
    known = {
        name for option in command.get_params(context) for name in (*option.opts, *option.secondary_opts)
    }
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in known:
            raise click.NoSuchOption(word, ctx=context)


def _tokens(line: str) -> list[str] | None:
    """Split a line as a shell does; None: a quotation is open."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return None


class Instruction(NamedTuple):
    """A Dockerfile's instruction."""

    name: str
    text: str


def read_dockerfile(text: str) -> list[Instruction]:
    """Return the instructions, lines joined, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(name.upper(), " ".join(rest).strip()) for name, *rest in parts]


def is_ignored(path: str, dockerignore: str) -> bool:
    """Tell whether a .dockerignore keeps a path from the builder: the last pattern that fits decides."""
    ignored = False
    for line in dockerignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep, pattern = pattern.startswith("!"), pattern.removeprefix("!").removesuffix("/")
        if any(_fits(each, pattern) for each in (path, *map(str, Path(path).parents)) if each != "."):
            ignored = not keep
    return ignored


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(Path(path).name, pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Put variables into a compose file's values; `KeyError` with the message of one that must be set."""
    if isinstance(value, dict):
        return {key: interpolate(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        found = variables.get(match[1], "")
        if not found and match[2] == ":?":
            raise KeyError(f"{match[1]}: {match[3]}")
        return found or (match[3] if match[2] == ":-" else "")

    return re.sub(r"\$\$|\$\{(\w+)(?:(:[-?])([^}]*))?\}", put, value)


def sbatch_options(script: str) -> dict[str, str | None]:
    """Return the `#SBATCH` options of a script, as Slurm reads them: only those before its first command."""
    options: dict[str, str | None] = {}
    for line in script.splitlines():
        if line.startswith("#SBATCH"):
            [word] = shlex.split(line.removeprefix("#SBATCH"), comments=True)
            name, has_value, value = word.partition("=")
            assert name.startswith("--"), line
            assert name not in options, f"{name} twice"
            options[name] = value if has_value else None
        elif line.strip() and not line.startswith("#"):
            break
    return options
