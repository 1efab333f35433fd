"""The journal beside a cache: immutable parts, each one committed by a rename.

A part is written aside, brought to the disk, and renamed to a name that holds the SHA-256 of its bytes; when the
rename is on the disk too, the work in it is done for good. There is no index that could tear: the parts are what
the folder lists. Two writers of the same work write the same name or two parts with the same keys, and both are
harmless.

Parts of one encoder are merged as they grow in number: `MERGED_PARTS` of like size become one, until it is large. Large
is a share of 1/`LARGE_PARTS` of all that waits for the encoder, but no less than `LARGE_PART_BYTES` and no more than
`MOST_LARGE_PART_BYTES`, for a part is made and checked in memory; a merge is of no more than twice that. So there are
at most 64 large parts up to 4 GiB, one for each 64 MiB beyond, and some thirty small ones; and no byte is written more
often than the logarithm of that, some six times. The merged part is published like any other before those that are in
it are removed: a process that is killed between leaves copies, which are harmless.

Other workers on the same cache, *shards*, have journals of their own in this one, each with a lock, parts and hints
(`embed.contents.hash_cache`)::

    embeddings.h5.journal/                          lock, parts    of whoever may write the cache
    embeddings.h5.journal/shards/00003-of-00016/    lock, parts, hints    of one shard

A shard reads which keys all others have published, and changes nothing but its own folder. Whether their bytes are
whole is found when they are sealed; what is not is encoded again. Whoever takes the cache's lock moves the parts and
hints of all shards that are not at work, as their locks tell, into the cache's journal, and seals them as its own. So
parts go one way, from a shard's folder to the journal's to the cache; whoever lists them in this order, and looks again
where one has gone, misses none.

Parts are only removed after `cache.inventory.sealing` has put them into the cache, or merging into another part. One
whose bytes were read without error and do not match the digest in its name is set aside, as ``<name>.damaged``, and its
work is done again; so is one whose vectors have other dimensions than the sealed ones, or than most. One that the
system cannot read for now, or that is whole and not understood, stays where it is and stops the run. A part is parsed
from the very bytes that were hashed, and what is read of it later comes from a file that is still the same.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from cache.errors import CacheError, CacheLockedError, DamagedCacheError, UnreadableError
from cache.journal.part import Part, encode_part, merged_part
from cache.journal.part_file import PartFile, encoder_in, load_part_file, part_name
from cache.journal.shards import HINTS, first_specs, parts_in, sealed_specs, shard_folders, take_shard
from cache.system.aside import fsync_folder, write_aside
from cache.system.lock import WriterLock
from cache.system.reading import SHORTAGES, facts_of, names_in, raise_if_refused

__all__ = ["Journal"]

log = logging.getLogger("embed_once")

MERGED_PARTS = 8
LARGE_PARTS = 64
LARGE_PART_BYTES, MOST_LARGE_PART_BYTES = 2**23, 2**26
SHARDS = "shards"

_DAMAGED = ".damaged"


class Journal:
    """The parts beside one cache, held by one writer inside a ``with`` block; `is_patient` waits for other writers.

    Args:
        cache_path: the cache.
        shard: the name of a shard, whose own journal it is; without one it is the cache's.
        is_patient: wait until no other process holds it.

    Raises:
        CacheLockedError: another process is writing the same cache, or is the same shard.
    """

    def __init__(self, cache_path: str | Path, *, shard: str | None = None, is_patient: bool = False) -> None:
        cache_path = Path(cache_path)
        if not cache_path.name:
            raise CacheError(
                f"Expected the cache to be a file, but -o names {str(cache_path)!r}. Name one such as cache.h5."
            )
        self.cache_path = cache_path
        self._cache_folder = cache_path.with_name(cache_path.name + ".journal")
        self.shards_folder = self._cache_folder / SHARDS
        self.folder = self._cache_folder if shard is None else self.shards_folder / shard
        self.is_shard = shard is not None
        self.working_shards: dict[str, Path | None] = {}  # whose parts were not taken: name -> `left_lock` of the error
        self.conflicts: list[str] = []  # why the parts of shards were not taken, a sentence each
        self._lock = WriterLock(self.folder / "lock")
        self._is_patient = is_patient
        self._is_lasting = False  # whether the name of the folder itself is known to be on the disk
        self._lasting_error: OSError | None = None  # why it is not

    def __enter__(self) -> Journal:
        try:
            self._lock.acquire(is_patient=self._is_patient)
            for name in names_in(self.folder):
                if name.endswith(".tmp"):
                    (self.folder / name).unlink()
            if not self.is_shard:
                self.take_shards()
        except BaseException as error:
            self.__exit__()
            if isinstance(error, UnreadableError) or not isinstance(error, OSError):
                raise
            if error.errno in {*SHORTAGES, errno.EIO}:  # another cache would fail in the same way
                raise_if_refused(error, error.filename or self.folder)
            raise CacheError(
                f"Expected the cache to be in a folder that can be written, but {error.filename or self.folder}: "
                f"{error.strerror}. Correct that, or name another cache with -o."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        for folder in (self.folder, self.shards_folder, self._cache_folder):  # the first may be the last, too
            with suppress(OSError):  # it still holds parts
                folder.rmdir()

    def take_shards(self) -> None:
        """Move what shards have published into the cache's journal, which is held.

        Those that are at work, and those whose vectors were made otherwise, are left alone and noted.

        Raises:
            UnreadableError: it cannot be told what there is.
            OSError: a part cannot be moved; it stays where it is.
        """
        self.working_shards, self.conflicts = {}, []
        folders = shard_folders(self.shards_folder)
        specs = first_specs(self.folder) | sealed_specs(self.cache_path) if folders else {}
        for folder in folders:
            try:
                with Journal(self.cache_path, shard=folder.name):
                    conflict = take_shard(folder, self.folder, specs)
            except CacheLockedError as error:
                self.working_shards[folder.name] = error.left_lock
            else:
                self.conflicts += [conflict] if conflict else []

    @property
    def hint_paths(self) -> list[Path]:
        """Where a shard keeps its hints; in the cache's journal, where those are that shards have left."""
        if self.is_shard:
            return [self.folder / HINTS]
        return [self.folder / name for name in names_in(self.folder) if name.endswith(f".{HINTS}")]

    def publish(self, part: Part) -> Path:
        """Bring one part to the disk and return its path; when this returns, the work is kept.

        Raises:
            CacheError: the disk is full or fails; nothing that was published before is touched.
        """
        return self._write(part)

    def _write(self, part: Part) -> Path:
        content = encode_part(part)
        path = self.folder / part_name(part, content)
        try:
            self._make_lasting()
            return write_aside(path, lambda aside: aside.write_bytes(content), folder=self.folder)
        except OSError as error:
            raise CacheError(
                f"{len(part.keys)} vectors could not be written to {self.folder} ({error.strerror}). All that were "
                "written before are kept. Fix the cause and type the same line again."
            ) from error

    def _make_lasting(self) -> None:
        """Bring the folder's own name to the disk, once.

        A failure is raised again each time: a system whose fsync failed may report success the next time.
        """
        if self._lasting_error is not None:
            raise self._lasting_error
        if not self._is_lasting:
            try:
                for folder in self.folder.parents[: 3 if self.is_shard else 1]:  # which list the journal's folder
                    fsync_folder(folder)
            except OSError as error:
                self._lasting_error = error
                raise
            self._is_lasting = True

    def merge(self, modality: str, encoder: str) -> None:
        """Merge parts of one encoder where there are `MERGED_PARTS` of like size.

        Raises:
            CacheError: the disk is full or fails; all that was published before is kept.
            UnreadableError: a part cannot be read for now; likewise.
        """
        while paths := self._parts_to_merge(modality, encoder):
            loaded = list(self.parts(paths))
            parts = [part for _, part in loaded]
            kinds = {(part.spec.modality, part.encoder, part.spec.fingerprint) for part in parts}
            if len(kinds) > 1 or len({part.dims for part in parts if part.keys}) > 1:
                return  # `cache.inventory.inventory.Inventory` names the difference
            if parts:
                merged_path = self._write(merged_part(parts))
                for file, _ in loaded:
                    if file.path != merged_path:
                        file.path.unlink(missing_ok=True)  # it may have been sealed on a file system without locks

    def _parts_to_merge(self, modality: str, encoder: str) -> list[Path]:
        """Return the smallest parts of an encoder that are to be merged; none where no size has enough of them.

        They are at most `MERGED_PARTS`, and no more than are needed to reach `MOST_LARGE_PART_BYTES`.
        """
        facts = {path: facts_of(path) for path in self.paths_of(modality, encoder)}
        sizes = {path: path_facts.st_size for path, path_facts in facts.items() if path_facts is not None}
        large_bytes = min(max(sum(sizes.values()) // LARGE_PARTS, LARGE_PART_BYTES), MOST_LARGE_PART_BYTES)
        by_size: dict[int, list[Path]] = {}
        for path, size in sizes.items():
            if size < large_bytes:
                by_size.setdefault((size.bit_length() + 2) // 3, []).append(path)  # by factors of 8
        like_paths = next((paths for _, paths in sorted(by_size.items()) if len(paths) >= MERGED_PARTS), [])
        # `large_bytes` grows with all that waits, so many parts may become small at once, too many for memory.
        chosen: list[Path] = []
        n_bytes = 0
        for path in like_paths[:MERGED_PARTS]:
            if len(chosen) > 1 and n_bytes >= MOST_LARGE_PART_BYTES:
                break
            chosen.append(path)
            n_bytes += sizes[path]
        return chosen

    def deliver(self) -> bool:
        """Bring the sealed cache to where it belongs; return False where another one was sealed there meanwhile.

        Then the other one is here from now on. On a local disk the cache is where it belongs;
        `cache.journal.mirrored_journal` has more to do.
        """
        return True

    def paths_of(self, modality: str, encoder: str) -> list[Path]:
        """Return the published parts of one encoder in the journal's own folder, sorted by name.

        Raises:
            UnreadableError: it cannot be told which there are.
        """
        name = f"{modality}.{encoder}"
        return [path for path in parts_in(self.folder) if encoder_in(path.name) == name]

    def paths(self) -> list[Path]:
        """Return the published parts, sorted by name; an empty list where there is no journal.

        They are those of the cache and of all its shards. While this object holds the cache's journal, they are those
        of that journal alone, which may be sealed.

        Raises:
            UnreadableError: it cannot be told which there are.
        """
        is_held = self._lock.is_held and not self.is_shard
        folders = [self.folder] if is_held else [*shard_folders(self.shards_folder), self._cache_folder]
        return sorted(chain.from_iterable(map(parts_in, folders)), key=lambda path: (path.name, path))

    def parts(self, paths: Iterable[Path] | None = None) -> Iterator[tuple[PartFile, Part]]:
        """Yield every whole part of `paths`, by default of all that were published.

        A part that does not match its digest is set aside, for its work to be redone. One that is gone is passed over.

        Raises:
            UnreadableError: a part cannot be read for now; it stays.
            NotACacheError, UnknownVersionError: a part is whole and not understood; it stays.
        """
        for path in self.paths() if paths is None else paths:
            try:
                loaded = load_part_file(path)
            except FileNotFoundError:
                continue
            except DamagedCacheError as error:
                self.set_aside(path, str(error))
            else:
                yield loaded

    def set_aside(self, path: Path, reason: str) -> None:
        """Rename a part that is not to be used to a free name that is not a part's, and say so with the reason.

        A shard leaves that to whoever writes the part's journal.
        """
        if self.is_shard and path.parent != self.folder:
            log.warning("%s It is not used.", reason)
            return
        number = 1
        aside = path.with_name(path.name + _DAMAGED)
        while facts_of(aside, follow_symlinks=False) is not None:
            number += 1
            aside = path.with_name(f"{path.name}.{number}{_DAMAGED}")
        os.rename(path, aside)  # a power cut may undo it; it is then set aside again
        log.warning("%s It is set aside as %s. Its contents will be encoded again.", reason, aside.name)
