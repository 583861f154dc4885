"""Requests to one server: tried again where that is safe, and their errors ours."""

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

#: Seconds until a connection must stand, and until something must have been read or written.
CONNECT, READ, WRITE = 10.0, 300.0, 60.0
#: How often a server's "later" is heeded, and for how many seconds at most each time.
WAITS, LONGEST_WAIT = 5, 60.0
#: How often what was cut off is tried again, and after how many seconds for the first time.
CUTS, FIRST_PAUSE = 3, 0.5

Params = Mapping[str, Any]
Say = Callable[[str], None]
#: Makes a request, anew for each time that it is sent.
Make = Callable[[httpx.Client], httpx.Request]


class Connection:
    """A way to a server; threads may share it.

    `say` is told what a person should know meanwhile: that the server asks to wait, say.
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
                # The environment's proxies, but none on the way to this machine itself.
                trust_env=not address.loopback,
                # The environment's certificates; reading them takes longer than most requests.
                verify=httpx.create_ssl_context() if address.encrypted else False,
            )
        except httpx.InvalidURL as error:
            raise BadAddress(f"a server's URL cannot be read: {error}") from None
        except (ImportError, ValueError) as error:
            raise BadAddress(f"the environment's proxy cannot be used: {error}") from None
        # Notebooks forget to.
        self._closed = weakref.finalize(self, self._client.close)

    def ask(
        self,
        path: str,
        params: Params | None = None,
        *,
        method: str = "GET",
        body: object = None,
        again: bool = True,
    ) -> Any:
        """Give the document that answers a request, None where there is none.

        `again`: asking twice does what asking once does.
        """

        def make(client: httpx.Client) -> httpx.Request:
            return client.build_request(method, path, params=given(params), json=body)

        answer = self.send(make, again=again)
        return None if answer.status_code == httpx.codes.NO_CONTENT else document(answer)

    def pages(self, path: str, params: Params | None = None) -> Iterator[Any]:
        """Give the items of a list, page by page."""
        cursor = None
        while True:
            page = self.ask(path, {**(params or {}), "cursor": cursor})
            try:
                items, cursor = page["items"], page.get("next")
            except (KeyError, TypeError, AttributeError):
                raise NotPatchgrid(f"{self.address.url}{path} does not answer with a list") from None
            yield from items
            if cursor is None:
                return

    def send(self, make: Make, *, again: bool) -> httpx.Response:
        """Send a request and give the whole good answer."""
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
        """Give a good answer whose body is still to be read; `silence` is how many seconds may pass in it."""

        def make(client: httpx.Client) -> httpx.Request:
            timeout = httpx.Timeout(silence, connect=CONNECT, write=WRITE)
            return client.build_request("GET", path, params=given(params), headers=headers, timeout=timeout)

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
                self.say(f"{error}; trying again")
                time.sleep(FIRST_PAUSE * 2 ** (cuts - 1))
                continue
            if answer.is_success:
                return answer
            told = error_of(answer)
            if answer.status_code not in LATER or waits == WAITS:
                raise told
            waits += 1
            seconds = wait_of(answer, LONGEST_WAIT)
            self.say(f"{told}; waiting {seconds:.3g} s")
            time.sleep(seconds)

    def _once(self, make: Make) -> httpx.Response:
        """Send a request once; the body of an answer that tells of an error is read."""
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
        """Turn httpx's errors into ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise ServerUnreachable(self._unreachable(error)) from error
        except httpx.TimeoutException as error:
            raise ConnectionCut(f"{self.address.url} has not answered for too long") from error
        except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
            if "disconnected" in str(error) or "peer closed" in str(error):
                raise ConnectionCut(
                    f"{self.address.url} closed the connection before its answer was whole"
                ) from error
            raise NotPatchgrid(
                f"{self.address.url} does not answer as a patchgrid server: {error}"
            ) from error
        except httpx.RequestError as error:
            raise ConnectionCut(f"the connection to {self.address.url} was lost") from error

    def _unreachable(self, error: httpx.RequestError) -> str:
        url, reason = self.address.url, str(error) or "it does not answer"
        if proxied(url):
            named = "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY"
            return f"cannot reach {url} by the proxy that {named} names: {_short(reason)}"
        if isinstance(error, httpx.ConnectTimeout):
            return f"cannot reach {url}: no answer within {CONNECT:g} s"
        if "WRONG_VERSION_NUMBER" in reason:
            return f"cannot reach {url}: what is there speaks no TLS; is it http:// ?"
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return (
                f"cannot trust {url}: {_short(reason)}; SSL_CERT_FILE names the certificate of an authority "
                "of your own"
            )
        return f"cannot reach {url}: {_short(reason)}"


def given(params: Params | None) -> dict[str, Any]:
    """Give the parameters that have a value."""
    return {name: value for name, value in (params or {}).items() if value is not None}


def proxied(url: str) -> bool:
    """Tell whether the environment names a proxy for a URL, as httpx goes by it."""
    address, proxies = urlsplit(url), getproxies()
    named = address.scheme in proxies or "all" in proxies
    return named and not proxy_bypass(address.hostname or "")


def _short(reason: str) -> str:
    """Give a reason without where in OpenSSL it was found, or its number: `Connection refused`."""
    text = reason.partition("] ")[2] if reason.startswith("[") else reason
    return text.partition(" (_ssl.c")[0]


def _version() -> str:
    try:
        return version("patchgrid")
    except PackageNotFoundError:
        return "unknown"
