"""What became of some contents that were encoded together."""

from __future__ import annotations

from dataclasses import dataclass

from embed.encoders.protocol import Encoded

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """What a worker made of some contents: what was encoded, and why others could not be read."""

    keys: list[str]
    encoded: Encoded  # one vector per key
    failures: dict[str, str]  # key -> status

    @property
    def n_contents(self) -> int:
        """All that were tried."""
        return len(self.keys) + len(self.failures)

    @property
    def vector_bytes(self) -> int:
        """The bytes of the vectors."""
        return self.encoded.vectors.nbytes

    @property
    def token_bytes(self) -> int:
        """The bytes of the tokens."""
        return 0 if self.encoded.tokens is None else self.encoded.tokens.values.nbytes
