"""The `patchgrid` group: its commands and error handling."""

import sys
from contextlib import suppress
from typing import Any

import click

from patchgrid.cli.context import broker_option, db_option, json_option, server_options, user_option
from patchgrid.cli.errors import shown_in_one_line
from patchgrid.cli.lazy import LazyGroup
from patchgrid.cli.terminal.surroundings import check_text, open_streams

_COMMANDS = {
    "run": (
        "patchgrid.cli.commands.run:run",
        "Measure a file of prompt pairs in this process.",
    ),
    "submit": (
        "patchgrid.cli.commands.submit:submit",
        "Submit a file of prompt pairs to the queue.",
    ),
    "pairs": ("patchgrid.cli.commands.pairs:pairs", "Check and convert pair files."),
    "demo": ("patchgrid.cli.commands.demo:demo", "Run the demo: a small model, end to end."),
    "job": ("patchgrid.cli.commands.job:job", "List, watch and control jobs."),
    "results": (
        "patchgrid.cli.commands.results:results",
        "Show, plot and export results.",
    ),
    "worker": ("patchgrid.cli.commands.worker:worker", "Start, list and drain workers."),
    "serve": ("patchgrid.cli.commands.serve:serve", "Serve jobs and results over HTTP, with a web page."),
    "model": ("patchgrid.cli.commands.model:model", "Check whether a model is supported."),
    "token": ("patchgrid.cli.commands.tokens:token", "Create, list and revoke tokens of the HTTP service."),
    "db": ("patchgrid.cli.commands.db:db", "Upgrade, check and shrink the database."),
    "doctor": (
        "patchgrid.cli.commands.doctor:doctor",
        "Check this machine: packages, device, database, disk.",
    ),
}


class _Root(LazyGroup):
    """The outermost group: a command's return value is its exit code, its errors are one line."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command with open standard streams, even if the shell closed them."""
        open_streams()
        return super().main(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that are not text before parsing them."""
        with shown_in_one_line():
            check_text(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        _replace_what_cannot_be_printed()
        with shown_in_one_line():
            code = super().invoke(ctx)
        ctx.exit(code or 0)


@click.group(
    "patchgrid",
    cls=_Root,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@db_option
@server_options
@user_option()
@broker_option()
@json_option
@click.version_option(package_name="patchgrid", message="patchgrid %(version)s")
def main(
    db: str | None,
    server: str | None,
    token: str | None,
    user: str | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Find which parts of a language model carry a behaviour: attribution patching over all your prompt
    pairs, every estimate checked against exact patching.

    \b
    patchgrid demo          a first look, on a model that comes with patchgrid
    patchgrid run pairs.jsonl -m openai-community/gpt2
    patchgrid results top last

    On a cluster: `submit` instead of `run`, `worker start` on each machine, `job watch` to follow. With
    --server, `submit`, `job`, `results` and `worker list` use a server instead of a database.

    Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 a job failed, was cancelled or stopped, 2
    bad usage or bad input, 3 done with some pairs failed, 69 a server or database is unavailable, 70 the GPU
    failed, 124 timeout, 130 Ctrl-C, 141 broken pipe.
    """


def _replace_what_cannot_be_printed() -> None:
    """Print a replacement for a character that the terminal cannot show, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
