"""Hints of which encoders settings name, so that a catalogue without news is answered before any library is loaded.

The file ``<cache>.specs`` is laid out as that of `embed.contents.hash_cache`, and is no part of the cache either. What
it has for an encoder is its name and the fingerprint of its spec, by all that the spec was computed from: the settings,
versions of libraries, this package's code, the processor and devices, the folder and the variables that libraries look
at, and the files of weights, tokenizers and configs, each by its size, inode and times. A hint only ever says that an
encoder is one of those whose spec the cache has; where anything is to be encoded, the encoders are made and compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cache import EncoderSpec
from cache.keys import fields_sha256
from cache.system.circumstances import circumstances_here, identities
from embed.contents.hash_cache import Hints
from embed.encoders.protocol import Encoder
from embed.encoders.specs.side_notes import WORDS, library_versions
from embed.errors import EncoderError
from embed.settings import ExtractSettings

__all__ = ["NamedEncoder", "SpecHints"]

UNRELATED = (  # settings that change no spec
    "allow_outside", "bad_lines", "batch_size", "class_names", "clean_text", "delimiter", "encoding", "engine",
    "escape", "id_column", "image_column", "image_root", "image_template", "label", "labels", "max_bad", "memory",
    "n_workers", "part_bytes", "part_s", "per_class", "pictures", "ray", "rehash", "retry_failed", "reuse", "sample",
    "text_column", "text_columns", "where",
)  # fmt: skip
MOST_FILES = 4096  # of a folder that is looked at
END = "end"


@dataclass
class NamedEncoder:
    """An encoder's name and spec, for a run in which it has nothing to encode."""

    name: str
    spec: EncoderSpec

    def prepare(self, content: Any) -> Any:  # noqa: ARG002 - a protocol's
        """Fail: nobody may ask."""
        raise AssertionError(f"{self.name} is a name alone")

    def encode(self, batch: Sequence[Any]) -> Any:  # noqa: ARG002 - a protocol's
        """Fail: nobody may ask."""
        raise AssertionError(f"{self.name} is a name alone")


class SpecHints:
    """What is known of the encoders that settings name; made before the encoders are, whose files may change later.

    Args:
        cache_path: the cache that the hints are beside.
        settings: None where the encoders are given, of which nothing is known.
        folder: where their file is written aside.
    """

    def __init__(self, cache_path: Path, settings: ExtractSettings | None, *, folder: Path) -> None:
        path = cache_path.with_name(cache_path.name + ".specs")
        self._hints = Hints(path, folder=folder, otherwise="encoders are made before it is known what they lack")
        self._circumstances = b""
        if settings is not None and not settings.rehash:
            with suppress(OSError):  # a folder that cannot be listed, say: what matters is told when encoders are made
                self._circumstances = _circumstances(settings)

    def recall(self, specs: Mapping[tuple[str, str], EncoderSpec]) -> list[Encoder] | None:
        """Return the encoders by their names alone; None where there is no hint, or one is not among the cache's.

        `specs` are the cache's: (modality, encoder's name) -> spec.
        """
        if not self._circumstances or self._hints.is_empty:
            return None
        by_digest: dict[str, Encoder] = {
            _digest(name, spec): NamedEncoder(name, spec) for (_, name), spec in specs.items()
        }
        encoders: list[Encoder] = []
        while (digest := self._hints.find([self._identity(len(encoders))])[0]) in by_digest:
            encoders.append(by_digest[digest])
        return encoders if encoders and digest == _digest(END, None) else None

    def remember(self, encoders: Sequence[Encoder]) -> None:
        """Keep which encoders the settings name."""
        if self._circumstances:
            digests = [*(_digest(encoder.name, encoder.spec) for encoder in encoders), _digest(END, None)]
            self._hints.remember([(self._identity(number), digest) for number, digest in enumerate(digests)])
            self._hints.save()

    def check(self, recalled: Sequence[Encoder], made: Sequence[Encoder]) -> None:
        """Check that encoders are those that hints named.

        Raises:
            EncoderError: they are not; the hints are removed.
        """
        for named, encoder in zip_longest(recalled, made):
            if named is None or encoder is None or _full_name(named) != _full_name(encoder):
                differences = ["other names"]
            else:
                differences = encoder.spec.differences(named.spec)
            if differences:
                with suppress(OSError):
                    self._hints.path.unlink()
                raise EncoderError(
                    f"Expected the encoders to be as {self._hints.path} says, but they have {'; '.join(differences)}. "
                    "These hints are removed: type the same line again."
                )

    def _identity(self, number: int) -> bytes:
        """Return what the hint of the encoder of a number, from 0, stands under."""
        return hashlib.blake2b(self._circumstances + number.to_bytes(4, "little"), digest_size=16).digest()


def _full_name(encoder: Encoder) -> tuple[str, str]:
    return encoder.spec.modality, encoder.name


def _digest(name: str, spec: EncoderSpec | None) -> str:
    return fields_sha256({"name": name, "spec": spec.fingerprint if spec else ""})


def _circumstances(settings: ExtractSettings) -> bytes:
    """Return a digest of all that the encoders' specs are computed from; nothing where a file may still change."""
    files = set(Path(__file__).parents[2].rglob("*.py"))
    for modality in settings.modalities:
        for choice in settings.choices(modality):
            choice_files = {path for name in (choice.model, choice.weights) for path in _named_files(name)}
            if choice.weights == "pretrained":
                choice_files.update(_published_files(modality, choice.model))
                if not choice_files:
                    return b""  # it is somewhere, and not known where
            files |= choice_files
    if len(files) > MOST_FILES:
        return b""
    file_identities = identities(files)
    if not file_identities:
        return b""
    facts = {
        "settings": {name: value for name, value in asdict(settings).items() if name not in UNRELATED},
        "here": circumstances_here(),
        "libraries": library_versions(),
        "files": file_identities,
    }
    return hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode("utf-8", "surrogatepass")).digest()


def _named_files(name: str) -> Iterator[Path]:
    """Yield the file of this name, or the files in the folder of this name."""
    path = Path(name)
    if name in WORDS:
        return
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.iterdir() if file.is_file())


def _published_files(modality: str, model: str) -> Iterator[Path]:
    """Yield the files in the ecosystem's caches that a published model may be read from, whatever lies here besides."""
    is_of_torchvision = modality == "image" and "/" not in model
    folder = _torch_folder() if is_of_torchvision else _hub_folder(model)
    yield from (file for file in folder.rglob("*") if file.is_file())


def _torch_folder() -> Path:
    """Return where torch keeps weights, as ``torch.hub.get_dir`` says."""
    if hub := getattr(sys.modules.get("torch"), "hub", None):  # the program around may have chosen it
        return Path(hub.get_dir()) / "checkpoints"
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("TORCH_HOME", f"{caches}/torch")).expanduser() / "hub" / "checkpoints"


def _hub_folder(model: str) -> Path:
    """Return where the Hugging Face hub's client keeps a model."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
