"""The folders of shards in a journal, and how what is in them comes into the journal's own."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from cache.errors import UnknownVersionError
from cache.journal.part_file import SUFFIX, encoder_in, read_heading
from cache.keys import EncoderSpec
from cache.sealed.cache import Cache
from cache.system.aside import fsync_folder
from cache.system.reading import facts_of, names_in

__all__ = ["HINTS", "first_specs", "parts_in", "sealed_specs", "shard_folders", "take_shard"]

HINTS = "hints"

Specs = dict[str, EncoderSpec]  # by <modality>/<encoder>


def shard_folders(shards_folder: Path) -> list[Path]:
    """Return the folders of shards, sorted; none where there is no such folder."""
    return [shards_folder / name for name in names_in(shards_folder) if name.replace("-", "").isalnum()]


def parts_in(folder: Path) -> list[Path]:
    """Return the parts in one folder, sorted by name."""
    return [folder / name for name in names_in(folder) if name.endswith(SUFFIX)]


def first_specs(folder: Path) -> Specs:
    """Return the specs of the encoders that have parts in a folder, each from the first of its parts.

    One is enough, as all parts in a folder were made by one plan.
    """
    first_paths = {encoder_in(path.name): path for path in reversed(parts_in(folder))}
    specs = {}
    for path in first_paths.values():
        with suppress(UnknownVersionError):  # raised where the part itself is read
            if heading := read_heading(path):
                specs[f"{heading.spec.modality}/{heading.encoder}"] = heading.spec
    return specs


def sealed_specs(cache_path: Path) -> Specs:
    """Return the specs of all encoders of a sealed cache; none where there is no cache.

    Raises:
        CacheError: it cannot be read.
    """
    if facts_of(cache_path) is None:
        return {}
    with Cache(cache_path) as cache:
        return {
            f"{modality}/{encoder}": cache.spec(modality, encoder)
            for modality in cache.content_modalities
            for encoder in cache.encoders(modality)
        }


def take_shard(folder: Path, journal_folder: Path, specs: Specs) -> str:
    """Move a shard's parts and hints into the journal's folder; return "", or why they were left where they are.

    `specs` are those of the cache and of the journal's parts; those of the shard are added to them.

    Raises:
        UnreadableError: a part cannot be read for now.
        OSError: one cannot be moved; it stays where it is.
    """
    shard_specs = first_specs(folder)
    for name, spec in shard_specs.items():
        if name in specs and spec.fingerprint != specs[name].fingerprint:
            return f"{folder} has {name} with {'; '.join(spec.differences(specs[name]))}"
    specs |= shard_specs
    paths = parts_in(folder)
    for path in paths:
        path.replace(journal_folder / path.name)
    if facts_of(folder / HINTS) is not None:
        (folder / HINTS).replace(journal_folder / f"{folder.name}.{HINTS}")
    if paths:
        fsync_folder(journal_folder)  # first, so that a power cut may leave a part in both, and never in none
        fsync_folder(folder)
    return ""
