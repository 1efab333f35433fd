"""The journal beside a cache: immutable parts, each one committed by a rename.

A part is written aside, brought to the disk, and renamed to a name that holds the SHA-256 of its bytes; when the
rename is on the disk too, the work in it is done for good. There is no index that could tear: the parts are what
the folder lists. Two writers of the same work write the same name or two parts with the same keys, and both are
harmless.

Parts of one encoder are merged as they grow in number: `MERGED_PARTS` of like size become one, until it has
`LARGE_PART_BYTES`. So there are never more than one for as many bytes, and some thirty small ones. The merged part is
published like any other before those that are in it are removed: whoever is killed between leaves copies, which are
harmless.

Parts are only removed after `cache.sealing` has put them into the cache, or merging into another part. One whose bytes
were read without error and do not match the digest in its name is set aside, as ``<name>.damaged``, and its work is
done again; so is one whose vectors have other dimensions than the sealed ones, or than most. One that the system cannot
read for now, or that is whole and not understood, stays where it is and stops the run. A part is parsed from the very
bytes that were hashed, and what is read of it later comes from a file that is still the same.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from cache.aside import fsync_folder, write_aside
from cache.errors import CacheError, DamagedCacheError, UnreadableError
from cache.lock import WriterLock
from cache.part import Part, encode_part, merged_part
from cache.part_file import SUFFIX, PartFile, load_part_file
from cache.reading import SHORTAGES, facts_of, names_in, raise_if_refused

__all__ = ["Journal"]

log = logging.getLogger("embed_once")

MERGED_PARTS = 8
LARGE_PART_BYTES = 2**23

_DAMAGED = ".damaged"


class Journal:
    """The parts beside one cache, held by one writer inside a ``with`` block; `is_patient` waits for other writers.

    Raises:
        CacheLockedError: another process is writing the same cache.
    """

    def __init__(self, cache_path: str | Path, *, is_patient: bool = False) -> None:
        cache_path = Path(cache_path)
        if not cache_path.name:
            raise CacheError(
                f"Expected the cache to be a file, but -o names {str(cache_path)!r}. Name one such as cache.h5."
            )
        self.cache_path = cache_path
        self.folder = cache_path.with_name(cache_path.name + ".journal")
        self._lock = WriterLock(self.folder / "lock")
        self._is_patient = is_patient
        self._is_lasting = False  # whether the folder itself is known to be on the disk

    def __enter__(self) -> Journal:
        try:
            self._lock.acquire(is_patient=self._is_patient)
            for name in names_in(self.folder):
                if name.endswith(".tmp"):
                    (self.folder / name).unlink()
        except BaseException as error:
            self._lock.release()
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
        with suppress(OSError):  # it still holds parts
            self.folder.rmdir()

    def publish(self, part: Part) -> Path:
        """Bring one part to the disk and return its path; when this returns, the work is kept.

        Raises:
            CacheError: the disk is full or fails; nothing that was published before is touched.
        """
        return self._write(part)

    def _write(self, part: Part) -> Path:
        content = encode_part(part)
        name = f"{part.spec.modality}.{part.encoder}.{hashlib.sha256(content).hexdigest()}{SUFFIX}"
        try:
            if not self._is_lasting:
                fsync_folder(self.folder.parent)  # it lists the journal's folder
                self._is_lasting = True
            return write_aside(self.folder / name, lambda aside: aside.write_bytes(content), folder=self.folder)
        except OSError as error:
            raise CacheError(
                f"{len(part.keys)} vectors could not be written to {self.folder} ({error.strerror}). All that were "
                "written before are kept. Fix the cause and type the same line again."
            ) from error

    def merge(self, modality: str, encoder: str) -> None:
        """Merge parts of one encoder where there are `MERGED_PARTS` of like size.

        Raises:
            CacheError: the disk is full or fails; all that was published before is kept.
            UnreadableError: a part cannot be read for now; likewise.
        """
        while paths := self._like_parts(modality, encoder):
            several = list(self.parts(paths))
            kinds = {(part.spec.modality, part.encoder, part.spec.fingerprint) for _, part in several}
            if len(kinds) > 1 or len({part.dims for _, part in several if part.keys}) > 1:
                return  # `cache.inventory.Inventory` names the difference
            if several:
                merged = self._write(merged_part([part for _, part in several]))
                for file, _ in several:
                    if file.path != merged:
                        file.path.unlink()

    def _like_parts(self, modality: str, encoder: str) -> list[Path]:
        """Return the smallest parts of an encoder that are to be merged, none where no size has enough of them."""
        by_size: dict[int, list[Path]] = {}
        for path in self.paths_of(modality, encoder):
            facts = facts_of(path)
            if facts is not None and facts.st_size < LARGE_PART_BYTES:
                by_size.setdefault((facts.st_size.bit_length() + 2) // 3, []).append(path)  # by factors of 8
        return next((paths for _, paths in sorted(by_size.items()) if len(paths) >= MERGED_PARTS), [])

    def deliver(self) -> bool:
        """Bring the sealed cache to where it belongs; False where another was sealed there, which is here from now on.

        On a local disk it is where it belongs; `cache.cloud.mirrored_journal` has more to do.
        """
        return True

    def paths_of(self, modality: str, encoder: str) -> list[Path]:
        """Return the published parts of one encoder, sorted by name.

        Raises:
            UnreadableError: it cannot be told which there are.
        """
        name = f"{modality}.{encoder}"
        return [path for path in self.paths() if path.name.removesuffix(SUFFIX).rpartition(".")[0] == name]

    def paths(self) -> list[Path]:
        """Return the published parts, sorted by name; an empty list where there is no journal.

        Raises:
            UnreadableError: it cannot be told which there are.
        """
        return [self.folder / name for name in names_in(self.folder) if name.endswith(SUFFIX)]

    def parts(self, paths: Iterable[Path] | None = None) -> Iterator[tuple[PartFile, Part]]:
        """Yield every whole part of `paths`, by default of all that were published.

        One that does not match its digest is set aside, and its work is to be redone.

        Raises:
            UnreadableError: a part cannot be read for now; it stays.
            NotACacheError, UnknownVersionError: a part is whole and not understood; it stays.
        """
        for path in self.paths() if paths is None else paths:
            try:
                whole = load_part_file(path)
            except DamagedCacheError as error:
                self.set_aside(path, str(error))
            else:
                yield whole

    def set_aside(self, path: Path, reason: str) -> None:
        """Rename a part that is not to be used to a free name that is not a part's, and say so with the reason."""
        number = 1
        aside = path.with_name(path.name + _DAMAGED)
        while facts_of(aside, follow_symlinks=False) is not None:
            number += 1
            aside = path.with_name(f"{path.name}.{number}{_DAMAGED}")
        os.rename(path, aside)
        fsync_folder(self.folder)
        log.warning("%s It is set aside as %s. Its contents will be encoded again.", reason, aside.name)
