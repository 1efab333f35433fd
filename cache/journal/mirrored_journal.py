"""The journal of a cache in a bucket: a journal on the local disk, whose parts are also objects beside the cache.

All local code runs on the files of the mirror, as on any others. What is added to them:

- A part is acknowledged when its object is there, as ``<cache>.journal/<the part's name>``: one PUT that is refused
  where there is such an object. The name has the digest of the bytes, so an object of this name and size is the same.
- At the start, parts that are in the bucket alone are fetched and checked by that digest, and those that are here
  alone, because a PUT failed, are put there, unless another machine has sealed what is in them. The sealed cache is
  fetched where its tag is not that of the copy.
- A sealed cache takes the place of the one that it was made of, and of no other (`cache.cloud.sealed_objects`). Where
  somebody else sealed meanwhile, theirs is fetched, and ours made anew of it and of the parts, all of which are there.
- Shards have a mirror each, and put their parts beside all others'.
- Other files follow likewise (`cache.cloud.files_beside`).
- Objects of parts that were merged or sealed are removed after what they went into has been put there.
"""

from __future__ import annotations

import filecmp
import logging
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from cache.arrays.encoded_keys import EncodedKeys
from cache.arrays.key_index import KeyIndex
from cache.cloud.addresses import address_of, is_address
from cache.cloud.buckets import Bucket, ConflictError, ObjectFacts
from cache.cloud.files_beside import FilesBeside
from cache.cloud.local_copies import LocalCopy
from cache.cloud.sealed_objects import check_conditional_writes, put_cache
from cache.errors import CloudError
from cache.journal.journal import Journal
from cache.journal.part import Part
from cache.journal.part_file import SUFFIX, matches_digest, read_heading
from cache.sealed.cache import Cache
from cache.system.aside import write_aside
from cache.system.reading import facts_of
from cache.system.stop_signals import signals_held

__all__ = ["MirroredJournal", "n_waiting_parts", "open_journal"]

log = logging.getLogger("embed_once")

N_TOGETHER = 4  # parts that are fetched at once; each stands in memory whole
ATTEMPTS = 20  # to put a part where another is being put at the same time
WAIT_S = 0.5  # between them


def open_journal(cache_path: str | Path, *, shard: str | None = None, is_patient: bool = False) -> Journal:
    """Return the journal of a cache, or of one of its shards, for a ``with`` block; the cache may be in a bucket.

    Raises:
        CloudError: the cache's URL names no object.
    """
    if is_address(cache_path):
        return MirroredJournal(LocalCopy(address_of(cache_path)), shard=shard, is_patient=is_patient)
    return Journal(cache_path, shard=shard, is_patient=is_patient)


def n_waiting_parts(cache_path: str | Path) -> int:
    """Return how many parts wait to be sealed beside a cache; none of them is read.

    Raises:
        CloudError: the bucket cannot be had.
        UnreadableError: it cannot be told which there are.
    """
    if is_address(cache_path):
        return len(_part_names_in_bucket(LocalCopy(address_of(cache_path))))
    return len(Journal(cache_path).paths())


def _part_names_in_bucket(copy: LocalCopy) -> set[str]:
    keys = (key for key, _ in copy.bucket.list(f"{copy.address.key}.journal"))
    return {key.rpartition("/")[2] for key in keys if key.endswith(SUFFIX)}


class MirroredJournal(Journal):
    """The parts of a cache in a bucket, held by one writer of this machine; other machines may write theirs beside it.

    Raises, where the ``with`` block begins:
        CloudError: the bucket cannot be had or written, or does not refuse to write what is there already.
        CacheLockedError: another process of this machine is writing the same cache.
    """

    def __init__(self, copy: LocalCopy, *, shard: str | None = None, is_patient: bool = False) -> None:
        folder = "work" if shard is None else f"work-{shard}"
        super().__init__(copy.folder / folder / copy.address.name, is_patient=is_patient)
        self._is_of_shard = shard is not None
        self._copy = copy
        self._key = copy.address.key
        self._sealed_facts: ObjectFacts | None = None  # of the bucket's cache that the one here is made of
        self._names_in_bucket: set[str] = set()  # of parts
        self._is_undelivered = False  # whether the cache here was sealed, and is not in the bucket yet
        self._is_refreshed = False  # whether `_refresh` has sent all parts to the bucket
        self._beside = FilesBeside(copy, self.cache_path, self.folder, shard=shard)

    @property
    def _bucket(self) -> Bucket:
        return self._copy.bucket

    def __enter__(self) -> Journal:
        check_conditional_writes(self._bucket, self._key)
        super().__enter__()
        try:
            self._refresh()
            self._beside.fetch()
        except BaseException as error:
            self.__exit__(error)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if not any(error):
                self._drop_gone()
                self._beside.send()
        finally:
            super().__exit__(*error)

    def take_shards(self) -> None:
        super().take_shards()
        if self._is_refreshed:  # else `_refresh` sends them in a moment
            for path in self.paths():
                if path.name not in self._names_in_bucket:
                    self._send(path)

    def set_aside(self, path: Path, reason: str) -> None:
        """Rename a part here; its object stays if only the file here is damaged, or if this is a shard's journal."""
        if self._is_of_shard or not matches_digest(path.name, path.read_bytes()):
            self._names_in_bucket.discard(path.name)
        super().set_aside(path, reason)

    def merge(self, modality: str, encoder: str) -> None:
        if not self._is_of_shard:  # a shard's mirror has parts of others, who merge them
            super().merge(modality, encoder)
            self._drop_gone()

    def deliver(self) -> bool:
        """Put the sealed cache into the bucket, and remove the parts in it; False where another was sealed there.

        Raises:
            CloudError: it cannot be put there; all parts are still in the bucket.
        """
        self._is_undelivered = True
        try:
            facts = put_cache(
                self._bucket, self._key, self.cache_path, replaces=self._sealed_facts, owner=str(self.folder)
            )
        except ConflictError:
            our_facts = self._facts_if_ours()  # it was put there, and only the answer was lost
            if our_facts is None:
                log.info(
                    "%s was sealed by another process meanwhile: it is fetched, and sealed anew.", self._copy.address
                )
                self._refresh()
                self._is_undelivered = False
                return False
            facts = our_facts
        with signals_held():
            self._copy.adopt(self.cache_path, facts)
            self._sealed_facts = facts
        self._is_undelivered = False
        self._drop_gone()
        return True

    def _facts_if_ours(self) -> ObjectFacts | None:
        """Return what is known of the bucket's cache where it is the one that was sealed here, else None."""
        with suppress(FileNotFoundError):
            if filecmp.cmp(self._copy.fetch(), self.cache_path, shallow=False):
                return self._copy.facts
        return None

    def _write(self, part: Part) -> Path:
        path = super()._write(part)
        self._send(path)
        return path

    def _refresh(self) -> None:
        """Make the cache and the parts here those that are in the bucket, and send the parts that are here alone."""
        # Before the cache, which has what is sealed meanwhile.
        self._names_in_bucket = _part_names_in_bucket(self._copy)
        try:
            self._copy.fetch(self.cache_path)
            self._sealed_facts = self._copy.facts
        except FileNotFoundError:
            self._sealed_facts = None
            self.cache_path.unlink(missing_ok=True)
        local_names = {path.name for path in self.paths()}
        unsent_paths = [self.folder / name for name in sorted(local_names - self._names_in_bucket)]
        if unsent_paths:
            for path in self._drop_sealed(unsent_paths):
                self._send(path)
        with ThreadPoolExecutor(N_TOGETHER, thread_name_prefix="fetch") as pool:
            for _ in pool.map(self._fetch, sorted(self._names_in_bucket - local_names)):
                pass
        self._is_refreshed = True

    def _drop_sealed(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Remove the parts that another machine has sealed, and yield the others."""
        sealed: dict[tuple[str, str, str], EncodedKeys] = {}  # by modality, encoder and fingerprint
        if facts_of(self.cache_path) is not None:
            with Cache(self.cache_path) as cache:
                for modality in cache.content_modalities:
                    index = cache.key_index(modality)
                    for encoder in cache.encoders(modality):
                        entry = modality, encoder, cache.spec(modality, encoder).fingerprint
                        sealed[entry] = EncodedKeys(index, cache.encoded(modality, encoder))
        for path in paths:
            heading = read_heading(path)
            if heading is not None and not heading.failures:
                entry = heading.spec.modality, heading.encoder, heading.spec.fingerprint
                if sealed.get(entry, EncodedKeys(KeyIndex())).has(heading.keys).all():
                    path.unlink()
                    continue
            yield path

    def _fetch(self, name: str) -> None:
        """Fetch a part; one that is gone was merged into another or sealed meanwhile."""
        try:
            _, content = self._bucket.get(self._object(name))
        except FileNotFoundError:
            self._names_in_bucket.discard(name)
            return
        if not matches_digest(name, content):
            log.warning(
                "%s/%s is damaged and left out: what was in it is encoded again.", self._bucket.url, self._object(name)
            )
            return
        write_aside(self.folder / name, lambda aside: aside.write_bytes(content), folder=self.folder)

    def _send(self, path: Path) -> None:
        """Put a part into the bucket, where there is none of its name yet.

        Raises:
            CloudError: it cannot be put there; it stays here, and is sent by the next run.
        """
        content, key = path.read_bytes(), self._object(path.name)
        for _ in range(ATTEMPTS):
            try:
                self._bucket.put(key, content)
            except ConflictError:  # it is there, or another process is putting it there, which may fail
                with suppress(FileNotFoundError):
                    if self._bucket.head(key).n_bytes == len(content):
                        break
                time.sleep(WAIT_S)
            else:
                break
        else:
            raise CloudError(f"{self._bucket.url}/{key} could not be written. Type the same line again.")
        self._names_in_bucket.add(path.name)

    def _drop_gone(self) -> None:
        """Remove the objects of parts that are here no more: they were merged or sealed.

        They stay as long as the sealed cache could not be put into the bucket.
        """
        if self._is_undelivered:
            return
        gone = self._names_in_bucket - {path.name for path in self.paths()}
        self._bucket.delete([self._object(name) for name in sorted(gone)])
        self._names_in_bucket -= gone

    def _object(self, name: str) -> str:
        return f"{self._key}.journal/{name}"
