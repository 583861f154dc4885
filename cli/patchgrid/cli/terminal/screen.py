"""Screen output: JSON on stdout, messages on stderr."""

import json

import click

from patchgrid.core.plain import plain
from patchgrid.core.text.wording import counted as counted


def say(text: str = "") -> None:
    """Write a message to stderr."""
    click.echo(text, err=True)


def show_json(value: object) -> None:
    """Write one JSON document to stdout."""
    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def visible(value: object) -> str:
    """Format a value: None as `-`, control characters escaped."""
    if value is None:
        return "-"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
