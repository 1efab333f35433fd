"""Content keys as words of eight bytes: 4 for a digest, whose 64 letters are 32 bytes; 8 for any other key."""

from __future__ import annotations

from binascii import Error, hexlify, unhexlify
from collections.abc import Iterable

import numpy as np

from cache.errors import CacheError

__all__ = ["DIGEST_WORDS", "KEY", "KEY_LETTERS", "are_digests", "as_keys", "pack", "unpack", "widen"]

KEY_LETTERS = 64
KEY = np.dtype(f"S{KEY_LETTERS}")
DIGEST_WORDS, LETTER_WORDS = 4, 8  # a key
IS_HEXADECIMAL = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdef", dtype=np.uint8))


def as_keys(keys: Iterable[str] | np.ndarray) -> np.ndarray:
    """Return keys as an array, (n,) S64.

    Raises:
        CacheError: a key is longer than 64 letters, or has others than those of ASCII.
    """
    try:
        array = np.asarray(keys if hasattr(keys, "__array__") else list(keys), dtype="S")
    except UnicodeEncodeError as error:
        text = f"Expected content keys of ASCII letters, got {error.object!r}. Use cache.content_key."
        raise CacheError(text) from error
    if array.dtype.itemsize > KEY.itemsize:
        longest = max(array.tolist(), key=len).decode()
        raise CacheError(f"Expected content keys of at most 64 letters, got {longest!r}. Use cache.content_key.")
    return np.ascontiguousarray(array, dtype=KEY)


def pack(keys: np.ndarray) -> np.ndarray:
    """Return keys as words: four a key where all of them are digests, else eight, which are its letters.

    Shape:
        keys: (n,) S64
        output: (n, 4) or (n, 8) uint64
    """
    letters = keys.view(np.uint8)
    try:
        digests = unhexlify(letters.data)
    except Error:
        return keys.view(np.uint64).reshape(-1, LETTER_WORDS)
    if hexlify(digests) != letters.tobytes():  # capital letters
        return keys.view(np.uint64).reshape(-1, LETTER_WORDS)
    return np.frombuffer(digests, dtype=np.uint64).reshape(-1, DIGEST_WORDS)


def unpack(words: np.ndarray) -> np.ndarray:
    """Return the keys that words are made of, (n,) S64.

    Shape:
        words: (n, 4) or (n, 8) uint64
    """
    words = np.ascontiguousarray(words)
    if words.shape[1] == LETTER_WORDS:
        return words.view(KEY).reshape(-1)
    return np.frombuffer(bytearray(hexlify(words.view(np.uint8).reshape(-1).data)), dtype=KEY)


def widen(words: np.ndarray) -> np.ndarray:
    """Return the same keys as letters, (n, 8) uint64."""
    return unpack(words).view(np.uint64).reshape(-1, LETTER_WORDS)


def are_digests(words: np.ndarray) -> np.ndarray:
    """Return which keys are digests, (n,) bool.

    Shape:
        words: (n, 8) uint64
    """
    return np.asarray(IS_HEXADECIMAL[np.ascontiguousarray(words).view(np.uint8)].all(axis=1))
