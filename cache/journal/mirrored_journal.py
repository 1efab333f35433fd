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
import hashlib
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
from cache.journal.part_file import SUFFIX, read_heading
from cache.sealed.store import Cache
from cache.system.aside import write_aside
from cache.system.reading import facts_of
from cache.system.stop_signals import signals_held

__all__ = ["MirroredJournal", "n_waiting_parts", "open_journal"]

log = logging.getLogger("embed_once")

N_TOGETHER = 4  # parts that are fetched at once; each stands in memory whole
ATTEMPTS = 20  # to put a part where another is being put at the same time
WAIT_S = 0.5  # between them


def open_journal(cache_path: str | Path, *, shard: str | None = None, is_patient: bool = False) -> Journal:
    """Return the journal of a cache or of a shard, whose `cache_path` is where the cache is, for a ``with`` block.

    Raises:
        CloudError: the URL of a cache in a bucket is none.
    """
    if is_address(cache_path):
        return MirroredJournal(LocalCopy(address_of(cache_path)), shard=shard, is_patient=is_patient)
    return Journal(cache_path, shard=shard, is_patient=is_patient)


def n_waiting_parts(cache_path: str | Path) -> int:
    """Return how many parts wait beside a cache; none of them is read.

    Raises:
        CloudError: the bucket cannot be had.
        UnreadableError: it cannot be told which there are.
    """
    return (
        len(_parts_beside(LocalCopy(address_of(cache_path))))
        if is_address(cache_path)
        else len(Journal(cache_path).paths())
    )


def _parts_beside(copy: LocalCopy) -> set[str]:
    keys = (key for key, _ in copy.bucket.list(f"{copy.address.key}.journal"))
    return {key.rpartition("/")[2] for key in keys if key.endswith(SUFFIX)}


def _is_whole(name: str, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == name.removesuffix(SUFFIX).rpartition(".")[2]


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
        self._sealed: ObjectFacts | None = None  # what the bucket had when the cache here was made; None: nothing
        self._sent: set[str] = set()  # the names of parts that are in the bucket
        self._is_behind = False  # whether the cache here was sealed, and is not in the bucket
        self._is_refreshed = False  # whether all parts here are in the bucket
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
        if self._is_refreshed:  # else all that is here alone is sent in a moment
            for path in self.paths():
                if path.name not in self._sent:
                    self._send(path)

    def set_aside(self, path: Path, reason: str) -> None:
        """Rename a part here; its object stays where it is the file that is damaged, or where this is a shard's."""
        if self._is_of_shard or not _is_whole(path.name, path.read_bytes()):
            self._sent.discard(path.name)
        super().set_aside(path, reason)

    def merge(self, modality: str, encoder: str) -> None:
        if not self._is_of_shard:  # whose mirror has parts of others, which these merge
            super().merge(modality, encoder)
            self._drop_gone()

    def deliver(self) -> bool:
        """Put the sealed cache into the bucket, and remove the parts in it; False where another was sealed there.

        Raises:
            CloudError: it cannot be put there; all parts are still in the bucket.
        """
        self._is_behind = True
        try:
            facts = put_cache(self._bucket, self._key, self.cache_path, replaces=self._sealed, owner=str(self.folder))
        except ConflictError:
            facts_of_ours = self._facts_if_ours()  # of an answer that was lost on its way
            if facts_of_ours is None:
                log.info(
                    "%s was sealed by another process meanwhile: it is fetched, and sealed anew.", self._copy.address
                )
                self._refresh()
                self._is_behind = False
                return False
            facts = facts_of_ours
        with signals_held():
            self._copy.adopt(self.cache_path, facts)
            self._sealed = facts
        self._is_behind = False
        self._drop_gone()
        return True

    def _facts_if_ours(self) -> ObjectFacts | None:
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
        self._sent = _parts_beside(self._copy)  # before the cache: what is sealed meanwhile stands there
        try:
            self._copy.fetch(self.cache_path)
            self._sealed = self._copy.facts
        except FileNotFoundError:
            self._sealed = None
            self.cache_path.unlink(missing_ok=True)
        here = {path.name for path in self.paths()}
        if alone := [self.folder / name for name in sorted(here - self._sent)]:
            for path in self._drop_sealed(alone):
                self._send(path)
        with ThreadPoolExecutor(N_TOGETHER, thread_name_prefix="fetch") as pool:
            for _ in pool.map(self._fetch, sorted(self._sent - here)):
                pass
        self._is_refreshed = True

    def _drop_sealed(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Remove parts that another machine has sealed, and yield the others."""
        sealed: dict[tuple[str, str, str], EncodedKeys] = {}
        if facts_of(self.cache_path) is not None:
            with Cache(self.cache_path) as cache:
                for modality in cache.content_modalities:
                    index = cache.key_index(modality)
                    for encoder in cache.encoders(modality):
                        where = modality, encoder, cache.spec(modality, encoder).fingerprint
                        sealed[where] = EncodedKeys(index, cache.encoded(modality, encoder))
        for path in paths:
            heading = read_heading(path)
            if heading is not None and not heading.failures:
                where = heading.spec.modality, heading.encoder, heading.spec.fingerprint
                if sealed.get(where, EncodedKeys(KeyIndex())).has(heading.keys).all():
                    path.unlink()
                    continue
            yield path

    def _fetch(self, name: str) -> None:
        """Fetch a part; one that has gone meanwhile is in another, or sealed."""
        try:
            _, content = self._bucket.get(self._object(name))
        except FileNotFoundError:
            self._sent.discard(name)
            return
        if not _is_whole(name, content):
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
            except ConflictError:  # it is there, or another is just being put there, which may fail
                with suppress(FileNotFoundError):
                    if self._bucket.head(key).n_bytes == len(content):
                        break
                time.sleep(WAIT_S)
            else:
                break
        else:
            raise CloudError(f"{self._bucket.url}/{key} could not be written. Type the same line again.")
        self._sent.add(path.name)

    def _drop_gone(self) -> None:
        """Remove the objects of parts that are here no more: what was in them is in what was put there since.

        As long as that is a sealed cache that could not be put there, they stay.
        """
        if self._is_behind:
            return
        gone = self._sent - {path.name for path in self.paths()}
        self._bucket.delete([self._object(name) for name in sorted(gone)])
        self._sent -= gone

    def _object(self, name: str) -> str:
        return f"{self._key}.journal/{name}"
