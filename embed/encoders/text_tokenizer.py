"""`TextTokenizer`: token ids of single texts, as the folder's own tokenizer gives them, from many threads at once."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import transformers

from embed.contents.texts import HashTokenizer
from embed.encoders.weights import VOCABULARY_FILES, expecting, matching_files

__all__ = ["TextTokenizer"]


class TextTokenizer:
    """Token ids of a text, special tokens included, at most `max_length`.

    Where the folder has no vocabulary, words are hashed to `vocab_size` ids: untrained weights may do so.

    A tokenizer of transformers sets its backend to the length asked for, in each call, and must not be called from two
    threads. Once it is set, the backend itself may be, and takes a third of the time.

    Args:
        padded_length: texts are padded to it; None: they are not padded.

    Raises:
        WeightsError: the folder's tokenizer cannot be read.
    """

    def __init__(self, folder: Path | None, *, vocab_size: int, max_length: int, padded_length: int | None) -> None:
        self._lock = threading.Lock()
        self._padded_length = padded_length
        self._backend: Any = None  # where its ids are those of the tokenizer
        if not matching_files(folder, VOCABULARY_FILES):
            tokenizer: Any = HashTokenizer(vocab_size)
            self._encode = partial(tokenizer, max_length=max_length)
        else:
            with expecting(f"{folder} to hold its tokenizer"):  # which raises plain exceptions on damaged files
                load = transformers.AutoTokenizer.from_pretrained
                tokenizer = load(folder, local_files_only=True, trust_remote_code=False)
                self._encode = partial(tokenizer, truncation=True, max_length=max_length)
                self._encode("")
            if getattr(type(tokenizer), "_encode_plus", None) is transformers.PreTrainedTokenizerFast._encode_plus:
                self._backend = tokenizer.backend_tokenizer
        self._tokenizer = tokenizer
        self.pad_token_id: int = tokenizer.pad_token_id or 0

    def __call__(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        if self._backend is not None and self._padded_length is None:
            return self._backend.encode(text).ids
        with self._lock:
            tokens = self._encode(text)
            if isinstance(tokens, list):
                return tokens
            if self._padded_length is not None:
                tokens = self._tokenizer.pad(tokens, padding="max_length", max_length=self._padded_length)
            return tokens["input_ids"]
