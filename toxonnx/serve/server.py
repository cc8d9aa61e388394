"""The process of a server: signals and event loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from toxonnx.serve.address import BACKLOG, Address
from toxonnx.serve.app import make_app
from toxonnx.serve.service import Service

__all__ = ["run_server"]

#: seconds for which an idle connection stays open; clients keep theirs for less, and so do not use a closed one
KEEP_ALIVE = 75


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
