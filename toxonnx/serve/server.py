"""The process of a server: socket, signals, event loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from toxonnx.errors import InputError, MachineError
from toxonnx.serve.app import make_app
from toxonnx.serve.service import Service

__all__ = ["Address", "bind", "run_server"]

#: connections that wait to be accepted
BACKLOG = 2048
#: seconds for which an idle connection stays open; clients keep theirs for less, and so do not use a closed one
KEEP_ALIVE = 75


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the server listens.

    Attributes:
        host, port: a name or an address, and a port; 0 for any free one.
        tls_cert, tls_key: certificate chain and private key in PEM; None for plain HTTP.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")

    def check_tls(self) -> None:
        """Checks that certificate and key can be used.

        Raises:
            InputError: they cannot.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InputError("--tls-cert and --tls-key belong together", "Give both, or neither.")
        if self.tls_cert is None:
            return
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.tls_cert, self.tls_key)
        except ssl.SSLError as error:
            raise InputError(
                f"{self.tls_cert}, {self.tls_key}: not a certificate with its key: {error.reason}"
            ) from None


def bind(address: Address) -> socket.socket:
    """A listening socket.

    Raises:
        MachineError: the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise MachineError(
            f"cannot listen on {address.host}, port {address.port}: {error.strerror or error}",
            "Choose another one with --host or --port.",
        ) from None


class _Server(uvicorn.Server):
    """A server that ends with exit code 0 when it was asked to end and has answered everything."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again; the handlers here are those of :func:`run_server`."""
        yield


def run_server(service: Service, address: Address, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT, and then until everything that was accepted is answered.

    SIGHUP reloads the bundles.

    Args:
        service: the bundles.
        address: for TLS.
        listener: the socket, see :func:`bind`.
        on_ready: called when it accepts connections.
    """
    config = uvicorn.Config(
        make_app(service), log_config=None, access_log=False, server_header=False, lifespan="on", ws="none",
        ssl_certfile=address.tls_cert, ssl_keyfile=address.tls_key, backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(service.options.timeout) + 1,  # for clients that do not read their answer
    )  # fmt: skip
    server = _Server(config)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = loop.create_task(service.reload())
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.handle_exit, number, None)
        loop.add_signal_handler(signal.SIGHUP, reload)
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            on_ready()
        await serving

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(main())
