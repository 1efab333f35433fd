"""The settings of a server, with their defaults."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from cache.errors import SettingError

__all__ = ["ServeSettings", "is_loopback"]


@dataclass(frozen=True)
class ServeSettings:
    """Where a server listens, who may ask it, and how much it takes on.

    Raises:
        SettingError: the token is empty or is no plain word.
    """

    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    token: str | None = None  # that every request must carry
    deadline_s: float = 30.0  # for a request, from its first byte to its answer
    max_body_mb: float = 16.0
    max_body_memory_mb: float = 512.0  # of all bodies that are held at once
    max_parallel: int = 256  # requests at once
    max_waiting: int = 256  # products that wait for a batch
    max_batch: int = 32  # products answered together
    max_products: int = 64  # of one request
    max_characters: int = 100_000  # of a text or a cell
    max_top: int = 100  # classes or similar products that a request may ask for
    header_s: float = 10.0  # for a request's head to arrive

    def __post_init__(self) -> None:
        if self.token is not None and (not self.token.isascii() or not self.token.isprintable() or " " in self.token):
            raise SettingError("Expected --token to be of visible ASCII characters, got others. Name another.")
        if self.token == "":
            raise SettingError("Expected --token to be some characters, got none. Name one, or leave the option out.")

    @property
    def max_body_bytes(self) -> int:
        """How many bytes a request's body may have."""
        return int(self.max_body_mb * 2**20)


def is_loopback(host: str) -> bool:
    """Return whether a name or address is one that only this machine reaches; "", as HTTP/1.0 may send, counts as one.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("example.org")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", "")
