"""The broker's URL, and the Celery application that senders and workers share."""

import ssl
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

from celery import Celery

from patchgrid.workers.broker.queues import queue_of
from patchgrid.workers.errors import BrokerURLError

_CERTIFICATES = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
_EXAMPLES = "write redis://:password@host:6379/0, or rediss://… for TLS"
#: Options of a URL that name files.
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: For Redis, whether it is reached through TLS; the port of each scheme.
_TLS = {"redis": False, "rediss": True}
_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "amqp": 5672, "amqps": 5671}
#: Timeout of connections and responses, in seconds.
PATIENCE = 2


def _route(_name: str, _args: Any, kwargs: Any, _options: Any, **_others: Any) -> dict[str, Any] | None:
    """Route a message by its model."""
    return {"queue": queue_of(kwargs["model"])} if kwargs and "model" in kwargs else None


_SETTINGS: dict[str, Any] = {
    "accept_content": ["json"],
    "task_serializer": "json",
    "task_default_queue": "patchgrid",
    "task_default_exchange": "patchgrid",
    "task_ignore_result": True,
    "result_backend": "disabled://",
    # A message is acknowledged before its work begins: nothing that a worker does is ever redelivered.
    "task_acks_late": False,
    "task_routes": [_route],
    # One thread computes; another answers `inspect`.
    "worker_pool": "threads",
    "worker_concurrency": 1,
    "worker_prefetch_multiplier": 1,
    "worker_consumer": "patchgrid.workers.celery.consumer:Consumer",
    "worker_send_task_events": True,
    "worker_redirect_stdouts": False,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_enable_prefetch_count_reduction": False,
    "broker_connection_retry": True,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # Retry a broker that refuses commands (full, read-only, permissions) as one that is unavailable.
    "broker_channel_error_retry": True,
    "broker_connection_timeout": PATIENCE,
}
_REDIS_OPTIONS = {
    "socket_connect_timeout": PATIENCE,
    "socket_timeout": PATIENCE,
    "socket_keepalive": True,
    # Detects a connection that died silently.
    "health_check_interval": PATIENCE,
    "retry_on_timeout": False,
}
_AMQP_OPTIONS = {"read_timeout": PATIENCE, "write_timeout": PATIENCE}


class App(Celery):  # type: ignore[misc]
    """A Celery application that uses the given broker, whatever Celery's own variables say."""

    events_cls = "patchgrid.workers.celery.events:Events"
    #: Its URL; None: what Celery itself is told.
    broker: str | None = None
    #: Makes the worker of a process, given this; the worker; the step that runs it.
    make: Any = None
    worker: Any = None
    step: Any = None
    #: Whether remote control may stop and change the worker.
    remote_control = False

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection for consuming."""
        return super().connection_for_read(url or self.broker, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        """Return a connection for publishing; one to RabbitMQ has timeouts, as all to Redis have."""
        url = url or self.broker
        if url is not None and url.startswith("amqp"):
            options["transport_options"] = _AMQP_OPTIONS | (options.get("transport_options") or {})
        return super().connection_for_write(url, **options)


def make_app(broker: str | None, **changes: Any) -> App:
    """Make the application of a broker, with Celery settings of its own in `changes`.

    Raises `BrokerURLError` for a URL that is not supported.
    """
    settings = _SETTINGS | changes
    url = None
    if broker is not None:
        url, more = _read(broker)
        settings |= {"broker_url": url, **more}
    app = App("patchgrid", set_as_current=False, fixups=[], changes=settings)
    app.broker = url
    return app


def label(broker: str) -> str:
    """Name a broker in a message: its URL without the password and options."""
    first, _, _ = broker.partition(";")
    try:
        parts = urlsplit(first)
        address = f"{parts.hostname or '127.0.0.1'}:{parts.port or _PORTS.get(parts.scheme, 6379)}"
    except ValueError:
        return "the broker"
    return f"{parts.scheme}://{address}{parts.path}"


def _read(broker: str) -> tuple[str, dict[str, Any]]:
    """Split a broker's URL into the URL without options, and Celery's settings for it."""
    if "://" not in broker:
        raise BrokerURLError(f"a broker must be a URL: {_EXAMPLES}")
    addresses, _, query = broker.partition("?")
    options = dict(parse_qsl(query))
    for address in addresses.split(";"):
        _check(address)
    scheme = urlsplit(addresses.partition(";")[0]).scheme
    if scheme == "sentinel":
        return addresses, _sentinel(broker, options)
    if scheme in ("amqp", "amqps"):
        host = urlsplit(addresses.partition(";")[0]).hostname
        return addresses, {"broker_use_ssl": _as_amqp_names(_tls(scheme == "amqps", options), host)}
    parts = urlsplit(addresses)
    url = urlunsplit(SplitResult("redis", parts.netloc, parts.path, "", ""))
    return url, {
        "broker_use_ssl": _tls(_TLS[scheme], options),
        "broker_transport_options": dict(_REDIS_OPTIONS),
    }


def _check(address: str) -> None:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        raise BrokerURLError(f"cannot read the broker's URL: {_EXAMPLES}") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BrokerURLError(f"{label(address)} is not a supported broker: {_EXAMPLES}")
    database = parts.path.strip("/")
    if parts.scheme in _TLS and database and not database.isdigit():
        raise BrokerURLError(f"{label(address)}: a Redis database must be a number, such as /0")


def _sentinel(broker: str, options: dict[str, str]) -> dict[str, Any]:
    master = options.pop("master_name", None)
    if master is None or options:
        raise BrokerURLError(
            f"{label(broker)}: a sentinel URL needs the option master_name, and takes no other: "
            "sentinel://host:26379;sentinel://host2:26379?master_name=NAME"
        )
    return {"broker_transport_options": _REDIS_OPTIONS | {"master_name": master}}


def _as_amqp_names(tls: dict[str, Any] | None, host: str | None) -> dict[str, Any] | None:
    """Name options of TLS as RabbitMQ's client does; it checks the host's name only if it is told that."""
    if tls is None:
        return None
    named = {name.removeprefix("ssl_"): value for name, value in tls.items()}
    return named | {"server_hostname": host} if named.pop("check_hostname") else named


def _tls(used: bool, options: dict[str, str]) -> dict[str, Any] | None:
    unknown = set(options) - {"ssl_cert_reqs", "ssl_check_hostname", *_TLS_FILES}
    if unknown or (options and not used):
        raise BrokerURLError(
            f"broker option {min(unknown or options)} is not supported; available with "
            f"rediss:// and amqps://: ssl_cert_reqs, ssl_check_hostname, {', '.join(_TLS_FILES)}"
        )
    if not used:
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
