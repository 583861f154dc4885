"""A TLS server in front of a plain one, with a certificate of its own: bundled Redis servers speak no TLS."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support.machines.servers import free_port


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that signs itself; give its file and its key's."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


@contextmanager
def tls_proxy(certificate: Path, key: Path, target: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve TLS on a port of an address of this machine, passed on to its port `target`; give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    port = free_port()
    with socket.create_server((host, port)) as server:
        server.settimeout(0.1)
        ended = threading.Event()
        thread = threading.Thread(target=_accept, args=(server, context, target, ended))
        thread.start()
        try:
            yield port
        finally:
            ended.set()
            thread.join()


def _accept(server: socket.socket, context: ssl.SSLContext, target: int, ended: threading.Event) -> None:
    threads: list[threading.Thread] = []
    while not ended.is_set():
        try:
            plain, _ = server.accept()
        except TimeoutError:
            continue
        thread = threading.Thread(target=_serve, args=(plain, context, target, ended))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


def _serve(plain: socket.socket, context: ssl.SSLContext, target: int, ended: threading.Event) -> None:
    with plain, suppress(OSError):
        plain.settimeout(5)
        with (
            context.wrap_socket(plain, server_side=True) as outer,
            socket.create_connection(("127.0.0.1", target)) as inner,
        ):
            outer.settimeout(0.02)
            inner.settimeout(0.02)
            while not ended.is_set():
                for source, sink in ((outer, inner), (inner, outer)):
                    with suppress(TimeoutError):
                        data = source.recv(65536)
                        if not data:
                            return
                        sink.sendall(data)
