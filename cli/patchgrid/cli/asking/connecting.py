"""Opening the way to a server for a command."""

from collections.abc import Iterator
from contextlib import contextmanager

from patchgrid.api.client.http.address import Address
from patchgrid.api.client.http.http import Connection
from patchgrid.api.client.http.service import Service
from patchgrid.cli.asking.remote import RemoteSource
from patchgrid.cli.terminal.screen import say, visible


@contextmanager
def asking_server(url: str, token: str | None) -> Iterator[RemoteSource]:
    """Give the server's answers; nothing is sent before something is asked."""
    address = Address.read(url, token)
    if address.warning is not None:
        say(f"Warning: {visible(address.warning)}")
    with Connection(address, say=say) as connection:
        yield RemoteSource(Service(connection))
