"""What an encoder is: something frozen that turns one content into one vector, and says how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from cache import EncoderSpec, Tokens
from embed.errors import SettingError

__all__ = ["Encoded", "Encoder", "entry_name", "joined"]


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of a batch of B contents.

    Shape:
        vectors: (B, D) float32
        tokens: of B contents, (T_i, D_token) float16 each; None where the encoder keeps none
        beside: {depth: (B, D_depth) float32}, of an encoder that gives other depths, too
    """

    vectors: np.ndarray
    tokens: Tokens | None = None
    beside: Mapping[str, np.ndarray] = field(default_factory=dict)


def joined(pieces: Sequence[Encoded]) -> Encoded:
    """Return the vectors and tokens of several batches as those of one; of none, no vectors."""
    if len(pieces) == 1:
        return pieces[0]
    vectors = [piece.vectors for piece in pieces] or [np.zeros((0, 0), dtype=np.float32)]
    tokens = [piece.tokens for piece in pieces if piece.tokens is not None]
    depths = pieces[0].beside if pieces else {}
    beside = {depth: np.concatenate([piece.beside[depth] for piece in pieces]) for depth in depths}
    return Encoded(np.concatenate(vectors), Tokens.concatenated(tokens) if tokens else None, beside)


class Encoder(Protocol):
    """Turns contents of one modality into vectors; loads its model when the first batch comes, not before.

    An encoder may say what suits it: ``batch_size``, contents a batch, ``n_parallel``, how many threads may call
    `encode` at once (one, where it says nothing), and ``device``, a `torch.device` that gets threads of its own.

    One whose `prepare` begins as that of others may share that beginning with them: ``decoding`` names it, and
    `prepare` is ``prepare_decoded(decode(content))``. What `decode` returns several encoders read, and none changes.
    """

    name: str  # the vectors' name in the cache
    spec: EncoderSpec  # all that changes the vectors; known without loading the model

    def prepare(self, content: Any) -> Any:
        """Return one content (a file's bytes, a text) ready for a batch. It is called from several threads.

        Raises:
            ContentError: it cannot be encoded; the error's argument is its status.
        """

    def encode(self, batch: Sequence[Any]) -> np.ndarray | Encoded:
        """Return the vectors of prepared contents, (B, D) float32; each depends on its own content alone.

        An encoder that keeps tokens too returns both as `Encoded`, and says so in its spec.
        """


def entry_name(requested: str | None, usual: str) -> str:
    """Return the name that an encoder's vectors have in the cache: the requested one, else the usual one.

    Raises:
        SettingError: the requested name cannot be one.
    """
    name = re.sub(r"[^\w.+-]", "-", usual) if requested is None else requested
    if not re.fullmatch(r"[\w+-][\w.+-]{0,99}", name, flags=re.ASCII) or name in {"key", "status"}:
        raise SettingError(
            "Expected an encoder's name in the cache to be up to 100 letters, digits, '.', '_', '+' and '-', got "
            f"{name!r}. Name another with --image-name or --text-name."
        )
    return name
