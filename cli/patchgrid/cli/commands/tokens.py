"""`patchgrid token`: tokens of the HTTP service."""

import click

from patchgrid.cli.context import Settings, with_settings
from patchgrid.cli.options import PRIORITIES, SIZE
from patchgrid.cli.terminal.screen import say, show_json, visible
from patchgrid.cli.terminal.tables import Column, show_table
from patchgrid.cli.views.job_view import moment
from patchgrid.core.plain import plain
from patchgrid.core.text.wording import size
from patchgrid.storage.access import tokens
from patchgrid.storage.access.ownership import token_owner
from patchgrid.storage.access.quotas import stored_bytes
from patchgrid.storage.access.tokens import SCOPES, Token


@click.group("token")
def token() -> None:
    """Create, list and revoke tokens of the HTTP service."""


@token.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default=SCOPES[0],
    show_default=True,
    help="Scope: read; submit (includes read); admin (everything).",
)
@click.option(
    "--days",
    type=click.FloatRange(0, tokens.MOST_DAYS, min_open=True),
    metavar="N",
    help="Days until it expires.  [default: never]",
)
@click.option(
    "--max-priority",
    type=PRIORITIES,
    metavar="N",
    help="Highest priority of its jobs.  [default: the server's limit; no limit for admins]",
)
@click.option(
    "--max-bytes", type=SIZE, metavar="SIZE", help="Storage limit of its jobs (10GB).  [default: no limit]"
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
    """Create a token and print it once; only its hash is stored.

    Only the token goes to stdout. NAME must differ from the names of all tokens that are not revoked. The
    database is created if it does not exist.

    \b
    TOKEN=$(patchgrid token create ci --scope submit)
    """
    with settings.open(create=True) as database, database.write() as session:
        token, text = tokens.create(
            session, name, (scope,), days=days, max_priority=max_priority, max_bytes=max_bytes
        )
    if settings.json:
        show_json(plain(token) | {"token": text})
    else:
        click.echo(text)
    until = "does not expire" if token.expires_at is None else f"expires {moment(token.expires_at)}"
    say(f"Token {visible(token.name)}: scope {', '.join(token.scopes)}; {until}")
    say("Copy it now: it is not shown again")


@token.command("list")
@with_settings
def list_(settings: Settings, /) -> None:
    """List all tokens, revoked ones included, oldest first."""
    with settings.open() as database, database.read() as session:
        listed = tokens.list_tokens(session)
        used = stored_bytes(session, [token_owner(each.id) for each in listed])
    if settings.json:
        show_json([plain(each) | {"bytes": used.get(token_owner(each.id), 0)} for each in listed])
    elif listed:
        columns = [Column("id", number=True), Column("name"), Column("scope"), Column("state")]
        columns += [Column("created"), Column("expires"), Column("last used")]
        columns += [Column("max priority", number=True), Column("stored", number=True)]
        show_table(columns, [_row(each, used.get(token_owner(each.id), 0)) for each in listed])
    else:
        say("No tokens yet: create one with patchgrid token create NAME")


@token.command()
@click.argument("name")
@with_settings
def revoke(settings: Settings, /, name: str) -> None:
    """Revoke a token immediately. NAME is its name or its id."""
    with settings.writing() as session:
        revoked = tokens.revoke(session, name)
    if settings.json:
        show_json(revoked)
    say(f"Token {visible(revoked.name)} ({revoked.id}) is revoked")


def _row(token: Token, used: int) -> tuple[object, ...]:
    state = "revoked" if token.revoked_at is not None else "valid" if token.valid else "expired"
    times = (moment(stamp) for stamp in (token.created_at, token.expires_at, token.used_at))
    stored = size(used) if token.max_bytes is None else f"{size(used)} of {size(token.max_bytes)}"
    return token.id, token.name, token.scopes[-1], state, *times, token.max_priority, stored
