"""Where a server listens."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from toxonnx.errors import InputError, MachineError

__all__ = ["BACKLOG", "Address", "bind"]

#: connections that wait to be accepted
BACKLOG = 2048


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
