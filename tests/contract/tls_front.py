"""TLS before a PostgreSQL server whose binaries know none, in PostgreSQL's own words."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""PostgreSQL's protocol, "SSLRequest": eight bytes before anything else, answered by one S."""


@contextmanager
def ending_tls(server: str, certificate: Path) -> Iterator[str]:
    """The same server's URL, under the name localhost, behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    parts = urlsplit(server)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, context, ("127.0.0.1", parts.port)), daemon=True).start()
        yield parts._replace(netloc=f"{parts.username}@localhost:{listener.getsockname()[1]}").geturl()
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, context: ssl.SSLContext, behind: tuple[str, int]) -> None:
    with suppress(OSError):
        while True:
            plain, _ = listener.accept()
            with suppress(OSError):
                if plain.recv(8) == SSL_REQUEST:
                    plain.sendall(b"S")
                    _joined(context.wrap_socket(plain, server_side=True), socket.create_connection(behind))
            plain.close()


def _joined(client: ssl.SSLSocket, server: socket.socket) -> None:
    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=pump, args=(server, client), daemon=True)
    back.start()
    pump(client, server)
    back.join()
    client.close()
    server.close()
