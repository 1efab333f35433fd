"""Parts of the journal: vectors of one encoder, and the bytes of an HDF5 file that they stand in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np

from cache.arrays.key_column import KeyColumn
from cache.arrays.key_index import KeyIndex, as_keys
from cache.errors import CacheError
from cache.format.layout import PART_FORMAT, open_checked
from cache.format.schema import PLAIN_NAME
from cache.format.writer import Writer
from cache.keys import EncoderSpec
from cache.system.stop_signals import signals_held
from cache.tokens import MOST_TOKENS, Tokens, offsets_of

__all__ = ["Part", "decode_part", "encode_part", "failures_in", "keys_in", "merged_part"]


@dataclass(frozen=True)
class Part:
    """Vectors of one encoder, their tokens where it gives such, and the contents that it could not read.

    Shape:
        vectors: (n, D) float32, finite, one row per key
        tokens: of n contents, finite, at least one token per key
    """

    encoder: str
    spec: EncoderSpec
    keys: Sequence[str]
    vectors: np.ndarray
    failures: dict[str, str]  # key -> status
    tokens: Tokens | None = None

    @property
    def dims(self) -> tuple[int, int]:
        """The dimensions of its vectors and of its tokens; 0 without any."""
        return self.vectors.shape[1], 0 if self.tokens is None else self.tokens.n_dim

    def __post_init__(self) -> None:
        for name, reserved in ((self.spec.modality, ("catalogue", "digests")), (self.encoder, ("key", "status"))):
            if not PLAIN_NAME.fullmatch(name) or name in reserved:
                raise CacheError(
                    "Expected names of modalities and encoders to be made of letters, digits, '.', '_', '+' and '-', "
                    f"and to be none of {', '.join(reserved)}, got {name!r}. Choose another name."
                )
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.keys) or self.vectors.dtype != np.float32:
            raise CacheError(
                f"Expected a part to have one float32 row per key, got {len(self.keys)} keys and "
                f"{self.vectors.dtype} vectors of shape {self.vectors.shape}."
            )
        if not np.isfinite(self.vectors).all():
            self._refuse_infinite("vectors", int(np.flatnonzero(~np.isfinite(self.vectors).all(axis=1))[0]))
        if self.tokens is not None:
            self._check_tokens(self.tokens)

    def _check_tokens(self, tokens: Tokens) -> None:
        if len(tokens) != len(self.keys) or (tokens.counts == 0).any() or (self.keys and not tokens.n_dim):
            raise CacheError(
                f"Expected a part to have one token or more per key, but {self.spec.modality}/{self.encoder} has "
                f"{len(self.keys)} keys and tokens of {int((tokens.counts > 0).sum())}."
            )
        if tokens.counts.max(initial=0) > MOST_TOKENS:
            raise CacheError(
                f"Expected a content to have at most {MOST_TOKENS} tokens, but one of {self.spec.modality}/"
                f"{self.encoder} has {tokens.counts.max()}. Cut what is encoded, with --max-length."
            )
        is_finite = np.isfinite(tokens.values).all(axis=1)  # (T,)
        if not is_finite.all():
            row = np.searchsorted(tokens.offsets, np.argmin(is_finite), side="right") - 1
            self._refuse_infinite("tokens", int(row))

    def _refuse_infinite(self, array_name: str, row: int) -> NoReturn:
        raise CacheError(
            f"Expected finite {array_name}, but {self.spec.modality}/{self.encoder} gave NaN or infinity "
            f"for the content {self.keys[row][:12]}…. Try --device cpu, or other weights."
        )


def merged_part(parts: Sequence[Part]) -> Part:
    """Return one part with all that parts of one encoder, and of the same dimensions, hold."""
    filled = [part for part in parts if part.keys] or parts[:1]  # a part without vectors does not know their dimension
    part_tokens = [part.tokens for part in filled if part.tokens is not None]
    tokens = None
    if part_tokens:
        counts = np.concatenate([tokens.counts for tokens in part_tokens])
        tokens = Tokens(np.concatenate([tokens.values for tokens in part_tokens]), offsets_of(counts))
    return Part(
        encoder=filled[0].encoder,
        spec=filled[0].spec,
        keys=KeyColumn(KeyIndex(np.concatenate([as_keys(part.keys) for part in filled]))),
        vectors=np.concatenate([part.vectors for part in filled]),
        failures={key: status for part in parts for key, status in part.failures.items()},
        tokens=tokens,
    )


def encode_part(part: Part) -> bytes:
    """Return the bytes of the part's file."""
    # The file is built in memory, so that a full disk fails a plain write and not HDF5 in the middle of a file.
    buffer = io.BytesIO()
    with signals_held(), h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        writer = Writer(file, file_format=PART_FORMAT)
        writer.text("encoder", part.encoder)
        writer.text("spec", part.spec.to_json())
        writer.array("key", as_keys(part.keys))
        writer.array("vector", part.vectors)
        if part.tokens is not None:
            writer.array("token_offset", part.tokens.offsets)
            # Not in chunks, so that the seal can read a few contents' tokens out of many. Without chunks they have no
            # checksums, but the file's name has its digest.
            writer.array("token", part.tokens.values, is_chunked=False)
        writer.array("failed_key", np.array(list(part.failures), dtype="S64"))
        writer.array("failed_status", np.array(list(part.failures.values()), dtype="S16"))
    return buffer.getvalue()


def decode_part(path: Path, content: bytes | bytearray) -> Part:
    """Return the part that `content` holds; `path` is used in messages only.

    Raises:
        UnknownVersionError: the bytes are of another version of the format.
        CacheError, OSError, LookupError, RuntimeError, TypeError, ValueError: they are no part.
    """
    with open_checked(path, file_format=PART_FORMAT, source=io.BytesIO(content)) as file:
        return Part(
            encoder=file["encoder"][()].decode(),
            spec=EncoderSpec.from_json(file["spec"][()].decode()),
            keys=keys_in(file),
            vectors=file["vector"][:],
            failures=failures_in(file),
            tokens=Tokens(file["token"][:], file["token_offset"][:]) if "token" in file else None,
        )


def keys_in(file: h5py.File) -> KeyColumn:
    """Return the keys in the open file of a part.

    Raises:
        CacheError: they are not ASCII.
    """
    keys = file["key"][:]
    if keys.view(np.uint8).max(initial=0) > 127:
        raise CacheError("its keys are not ASCII")
    return KeyColumn(KeyIndex(keys))


def failures_in(file: h5py.File) -> dict[str, str]:
    """Return the statuses, by key, of contents that could not be read, in the open file of a part."""
    keys, statuses = (file[name][:].astype(str).tolist() for name in ("failed_key", "failed_status"))
    return dict(zip(keys, statuses, strict=True))
