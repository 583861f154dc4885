"""`patchgrid token`: who may use the HTTP service."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import PRIORITIES, SIZE
from patchgrid.cli.terminal.screen import say, show_json, visible
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.cli.views.job_view import moment
from patchgrid.core.plain import plain
from patchgrid.core.wording import size
from patchgrid.storage.access import tokens
from patchgrid.storage.access.ownership import token_owner
from patchgrid.storage.access.quotas import stored_bytes
from patchgrid.storage.access.tokens import SCOPES, Token


@click.group("token")
def token() -> None:
    """Make, list and revoke the tokens of the HTTP service."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default=SCOPES[0],
    show_default=True,
    help="What it is good for: read; submit, which is reading too; admin, which is everything.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, tokens.MOST_DAYS, min_open=True),
    metavar="N",
    help="Days that it is good for.  [default: until it is revoked]",
)
@click.option(
    "--max-priority",
    type=PRIORITIES,
    metavar="N",
    help="Highest priority of its jobs.  [default: that of the server; none for admins]",
)
@click.option(
    "--max-bytes", type=SIZE, metavar="SIZE", help="Most that its jobs may take (10GB).  [default: no limit]"
)
@with_settings
def create(
    settings: Settings,
    /,
    name: str,
    scope: str,
    days: float | None,
    max_priority: int | None,
    max_bytes: int | None,
) -> None:
    """Make a token and print it, once: only its hash is kept.

    The token alone goes to stdout. NAME is yours to choose; no other token that is not revoked has it. The
    database is made if there is none.

    \b
    TOKEN=$(patchgrid token create ci --scope submit)
    """
    with settings.open(create=True) as database, database.write() as session:
        made, text = tokens.create(
            session, name, (scope,), days=days, max_priority=max_priority, max_bytes=max_bytes
        )
    if settings.json:
        show_json(plain(made) | {"token": text})
    else:
        click.echo(text)
    until = "it is revoked" if made.expires_at is None else moment(made.expires_at)
    say(f"Token {visible(made.name)} is good for {', '.join(made.scopes)} until {until}")
    say("Keep it: it is not shown again")


@token.command("list")
@with_settings
def list_(settings: Settings, /) -> None:
    """List the tokens, revoked ones too, the oldest first."""
    with settings.open() as database, database.read() as session:
        found = tokens.list_tokens(session)
        used = stored_bytes(session, [token_owner(each.id) for each in found])
    if settings.json:
        show_json([plain(each) | {"bytes": used.get(token_owner(each.id), 0)} for each in found])
    elif found:
        columns = [Column("id", number=True), Column("name"), Column("scope"), Column("state")]
        columns += [Column("created"), Column("expires"), Column("last used")]
        columns += [Column("max priority", number=True), Column("stored", number=True)]
        show_table(columns, [_row(each, used.get(token_owner(each.id), 0)) for each in found])
    else:
        say("No tokens yet: make one with patchgrid token create NAME")


@token.command()
@click.argument("name")
@with_settings
def revoke(settings: Settings, /, name: str) -> None:
    """Make a token good for nothing, at once. NAME is its name or its id."""
    with settings.writing() as session:
        revoked = tokens.revoke(session, name)
    if settings.json:
        show_json(revoked)
    say(f"Token {visible(revoked.name)} ({revoked.id}) is revoked")


def _row(each: Token, used: int) -> tuple[object, ...]:
    state = "revoked" if each.revoked_at is not None else "valid" if each.valid else "expired"
    times = (moment(stamp) for stamp in (each.created_at, each.expires_at, each.used_at))
    stored = size(used) if each.max_bytes is None else f"{size(used)} of {size(each.max_bytes)}"
    return each.id, each.name, each.scopes[-1], state, *times, each.max_priority, stored
