"""Where a server is, and the token that it is shown."""

import ipaddress
import os
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from patchgrid.api.client.environment import TOKEN_VARIABLE
from patchgrid.api.client.http.errors import BadAddress


@dataclass(frozen=True, slots=True)
class Address:
    """A server's URL and the token for it, both checked."""

    #: Without a slash at its end.
    url: str
    #: Shown to the server and to nobody else.
    token: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, url: str, token: str | None = None) -> "Address":
        """Read `https://host[:port][/path]`; the token is the environment's if none is given.

        Raises `BadAddress`, which shows neither a token nor a password.
        """
        parts = _split(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadAddress(
                f"a server URL must look like http://host:8000 or https://host, not {_hidden(url)!r}"
            )
        if "@" in parts.netloc:
            raise BadAddress(f"a server URL must not contain a password: set {TOKEN_VARIABLE} to the token")
        if parts.query or parts.fragment:
            raise BadAddress("a server URL must not contain ? or #")
        unchecked = token if token is not None else os.environ.get(TOKEN_VARIABLE)
        return cls(parts.geturl().rstrip("/"), _checked(unchecked))

    @property
    def encrypted(self) -> bool:
        """Whether nobody on the way can read along."""
        return self.url.startswith("https://")

    @property
    def loopback(self) -> bool:
        """Whether the server is on this machine."""
        host = urlsplit(self.url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def warning(self) -> str | None:
        """What to say where the token can be read on its way."""
        if self.token is None or self.encrypted or self.loopback:
            return None
        return f"the token is sent to {self.url} unencrypted: use https://"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadAddress(f"invalid server URL: {error}") from None
    return parts


def _hidden(url: str) -> str:
    """Return a URL with its password removed."""
    return f"…@{url.rpartition('@')[2]}" if "@" in url else url


def _checked(token: str | None) -> str | None:
    text = (token or "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise BadAddress("the token contains invalid characters: copy the whole token and nothing else")
    return text
