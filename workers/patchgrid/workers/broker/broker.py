"""The broker: its URL, and the Celery application that sends and receives wake-ups."""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from celery import Celery
from kombu import Exchange
from kombu.common import Broadcast

from patchgrid.workers.errors import BrokerURLError

#: The exchange whose messages reach every listening worker.
CHANNEL = "patchgrid.notifications"
#: The only task.
TASK = "patchgrid.notify"
EXCHANGE = Exchange(CHANNEL, type="fanout")

_CERTIFICATES = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
_EXAMPLES = "write redis://:password@host:6379/0, or rediss://… for TLS"
#: Options of a rediss:// URL that name files.
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: Timeout of connections and responses, in seconds.
PATIENCE = 2


class App(Celery):  # type: ignore[misc]
    """A Celery application that uses the given broker, whatever the environment says."""

    #: Its URL.
    broker: str
    #: kombu transport that receives messages; None: the default.
    reader: type | None = None

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection for consuming."""
        options.setdefault("transport", self.reader)
        return super().connection_for_read(url or self.broker, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection for publishing."""
        return super().connection_for_write(url or self.broker, **options)


def make_app(broker: str, on_notify: Callable[..., None] = lambda *_args, **_kwargs: None) -> App:
    """Make the application of a broker; `on_notify` receives the arguments of each wake-up.

    Raises `BrokerURLError` for a URL that is not supported.
    """
    url, tls = _read(broker)
    app = App("patchgrid", set_as_current=False, fixups=[], changes=_SETTINGS | {"broker_use_ssl": tls})
    app.broker = url
    # One shared queue name: Redis keeps one entry, not one per worker that ever existed.
    app.conf.task_queues = (
        Broadcast(CHANNEL, queue=CHANNEL, exchange=EXCHANGE, routing_key=CHANNEL, no_ack=True),
    )

    @app.task(name=TASK, typing=False, shared=False)  # type: ignore[untyped-decorator]
    def notify(*args: Any, **kwargs: Any) -> None:
        on_notify(*args, **kwargs)

    app.finalize()
    return app


def label(broker: str) -> str:
    """Name a broker in a message: its URL without the password and options."""
    try:
        parts = urlsplit(broker)
        address = f"{parts.hostname or '127.0.0.1'}:{parts.port or 6379}"
    except ValueError:
        return "the broker"
    return f"{parts.scheme}://{address}{parts.path}"


_SETTINGS = {
    "accept_content": ["json"],
    "task_serializer": "json",
    "task_ignore_result": True,
    "task_acks_late": False,
    "task_create_missing_queues": False,
    "task_default_queue": CHANNEL,
    "result_backend": "disabled://",
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_send_task_events": False,
    # Nothing is redelivered after a lost connection: no task waits for an acknowledgement.
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_enable_prefetch_count_reduction": False,
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": PATIENCE,
    "broker_transport_options": {
        "socket_connect_timeout": PATIENCE,
        "socket_timeout": PATIENCE,
        "socket_keepalive": True,
        # Detects a connection that died silently.
        "health_check_interval": PATIENCE,
        "retry_on_timeout": False,
    },
}


def _read(broker: str) -> tuple[str, dict[str, Any] | None]:
    """Split a broker's URL into the URL without options, and the options of TLS."""
    try:
        parts = urlsplit(broker)
        _ = parts.port
    except ValueError:
        raise BrokerURLError(f"cannot read the broker's URL: {_EXAMPLES}") from None
    if "://" not in broker:
        raise BrokerURLError(f"a broker must be a URL: {_EXAMPLES}")
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise BrokerURLError(f"{label(broker)} is not a supported broker: {_EXAMPLES}")
    if parts.path.strip("/") and not parts.path.strip("/").isdigit():
        raise BrokerURLError(f"{label(broker)}: a Redis database must be a number, such as /0")
    options = dict(parse_qsl(parts.query))
    url = urlunsplit(SplitResult("redis", parts.netloc, parts.path, "", ""))
    return url, _tls(parts.scheme, options)


def _tls(scheme: str, options: dict[str, str]) -> dict[str, Any] | None:
    unknown = set(options) - {"ssl_cert_reqs", "ssl_check_hostname", *_TLS_FILES}
    if unknown or (options and scheme == "redis"):
        raise BrokerURLError(
            f"broker option {min(unknown or options)} is not supported; available with "
            f"rediss://: ssl_cert_reqs, ssl_check_hostname, {', '.join(_TLS_FILES)}"
        )
    if scheme == "redis":
        return None
    requirement = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if requirement not in _CERTIFICATES:
        raise BrokerURLError(f"ssl_cert_reqs must be required, optional or none, not {requirement!r}")
    checked = options.get("ssl_check_hostname", "true").lower() != "false"
    return {
        "ssl_cert_reqs": _CERTIFICATES[requirement],
        "ssl_check_hostname": checked and requirement != "none",
        **{name: options[name] for name in _TLS_FILES if name in options},
    }
