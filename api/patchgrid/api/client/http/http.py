"""Requests to one server: retried where that is safe, with errors translated to ours."""

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from patchgrid.api.client.http.address import Address
from patchgrid.api.client.http.answers import LATER, document, error_of, wait_of
from patchgrid.api.client.http.errors import (
    BadAddress,
    ConnectionCut,
    NotPatchgrid,
    ServerUnreachable,
)

#: Timeouts in seconds: to connect, and to read or write something.
CONNECT, READ, WRITE = 10.0, 300.0, 60.0
#: How often a Retry-After is followed, and its longest wait in seconds.
WAITS, LONGEST_WAIT = 5, 60.0
#: Retries after a lost connection, and the first wait in seconds.
CUTS, FIRST_PAUSE = 3, 0.5

Params = Mapping[str, Any]
Say = Callable[[str], None]
#: Builds the request for each attempt.
Make = Callable[[httpx.Client], httpx.Request]


class Connection:
    """A connection to a server; thread-safe.

    `say` receives messages for the user, such as that the server asks to wait.
    """

    def __init__(self, address: Address, *, say: Say = lambda _: None) -> None:
        self.address = address
        self.say = say
        headers = {"User-Agent": f"patchgrid/{_version()}", "Accept": "application/json"}
        if address.token is not None:
            headers["Authorization"] = f"Bearer {address.token}"
        try:
            self._client = httpx.Client(
                base_url=address.url,
                headers=headers,
                timeout=httpx.Timeout(READ, connect=CONNECT, write=WRITE),
                # The environment's proxies, except for this machine.
                trust_env=not address.loopback,
                # The environment's certificates; reading them takes longer than most requests.
                verify=httpx.create_ssl_context() if address.encrypted else False,
            )
        except httpx.InvalidURL as error:
            raise BadAddress(f"invalid server URL: {error}") from None
        except (ImportError, ValueError) as error:
            raise BadAddress(f"invalid proxy in the environment: {error}") from None
        # Notebooks forget to.
        self._closed = weakref.finalize(self, self._client.close)

    def get(
        self,
        path: str,
        params: Params | None = None,
        *,
        method: str = "GET",
        body: object = None,
        again: bool = True,
    ) -> Any:
        """Send a request and return its JSON document, or None.

        `again`: the request is idempotent.
        """

        def make(client: httpx.Client) -> httpx.Request:
            return client.build_request(method, path, params=present(params), json=body)

        answer = self.send(make, again=again)
        return None if answer.status_code == httpx.codes.NO_CONTENT else document(answer)

    def pages(self, path: str, params: Params | None = None) -> Iterator[Any]:
        """Yield the items of a list, page by page."""
        cursor = None
        while True:
            page = self.get(path, {**(params or {}), "cursor": cursor})
            try:
                items, cursor = page["items"], page.get("next")
            except (KeyError, TypeError, AttributeError):
                raise NotPatchgrid(f"{self.address.url}{path} did not return a list") from None
            yield from items
            if cursor is None:
                return

    def send(self, make: Make, *, again: bool) -> httpx.Response:
        """Send a request and return the complete successful response."""
        answer = self._sent(make, again=again)
        try:
            answer.read()
        finally:
            answer.close()
        return answer

    @contextmanager
    def stream(
        self,
        path: str,
        params: Params | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        silence: float = READ,
        again: bool = True,
    ) -> Iterator[httpx.Response]:
        """Yield a successful response with an unread body; `silence` is its read timeout in seconds."""

        def make(client: httpx.Client) -> httpx.Request:
            timeout = httpx.Timeout(silence, connect=CONNECT, write=WRITE)
            return client.build_request("GET", path, params=present(params), headers=headers, timeout=timeout)

        answer = self._sent(make, again=again)
        try:
            with self._cut_off():
                yield answer
        finally:
            answer.close()

    def close(self) -> None:
        """Close all connections."""
        self._closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sent(self, make: Make, *, again: bool) -> httpx.Response:
        waits = cuts = 0
        while True:
            try:
                answer = self._once(make)
            except (ConnectionCut, ServerUnreachable) as error:
                cuts += 1
                if not again or cuts > CUTS or (isinstance(error, ServerUnreachable) and cuts == 1):
                    raise
                self.say(f"{error}; retrying")
                time.sleep(FIRST_PAUSE * 2 ** (cuts - 1))
                continue
            if answer.is_success:
                return answer
            failure = error_of(answer)
            if answer.status_code not in LATER or waits == WAITS:
                raise failure
            waits += 1
            seconds = wait_of(answer, LONGEST_WAIT)
            self.say(f"{failure}; waiting {seconds:.3g} s")
            time.sleep(seconds)

    def _once(self, make: Make) -> httpx.Response:
        """Send a request once; the body of an error response is read."""
        with self._cut_off():
            answer = self._client.send(make(self._client), stream=True)
            if not answer.is_success:
                try:
                    answer.read()
                finally:
                    answer.close()
            return answer

    @contextmanager
    def _cut_off(self) -> Iterator[None]:
        """Translate httpx's errors to ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise ServerUnreachable(self._unreachable(error)) from error
        except httpx.TimeoutException as error:
            raise ConnectionCut(f"timed out waiting for {self.address.url}") from error
        except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
            if "disconnected" in str(error) or "peer closed" in str(error):
                raise ConnectionCut(
                    f"{self.address.url} closed the connection before the response was complete"
                ) from error
            raise NotPatchgrid(f"{self.address.url} is not a patchgrid server: {error}") from error
        except httpx.RequestError as error:
            raise ConnectionCut(f"the connection to {self.address.url} was lost") from error

    def _unreachable(self, error: httpx.RequestError) -> str:
        url, reason = self.address.url, str(error) or "no response"
        if proxied(url):
            named = "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
            return f"cannot reach {url} through the proxy in {named}: {_short(reason)}"
        if isinstance(error, httpx.ConnectTimeout):
            return f"cannot reach {url}: timed out after {CONNECT:g} s"
        if "WRONG_VERSION_NUMBER" in reason:
            return f"cannot reach {url}: it does not use TLS; try http://"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return (
                f"cannot trust {url}: {_short(reason)}; SSL_CERT_FILE names the certificate of an authority "
                "of your own"
            )
        return f"cannot reach {url}: {_short(reason)}"


def present(params: Params | None) -> dict[str, Any]:
    """Return the parameters that have a value."""
    return {name: value for name, value in (params or {}).items() if value is not None}


def proxied(url: str) -> bool:
    """Return whether httpx uses a proxy from the environment for a URL."""
    address, proxies = urlsplit(url), getproxies()
    named = address.scheme in proxies or "all" in proxies
    return named and not proxy_bypass(address.hostname or "")


def _short(reason: str) -> str:
    """Return a reason without OpenSSL's location or number: `Connection refused`."""
    text = reason.partition("] ")[2] if reason.startswith("[") else reason
    return text.partition(" (_ssl.c")[0]


def _version() -> str:
    try:
        return version("patchgrid")
    except PackageNotFoundError:
        return "unknown"
