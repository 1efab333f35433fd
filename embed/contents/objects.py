"""Pictures that are objects in a bucket: where a cell leads, what tells one from its next version, and its bytes."""

from __future__ import annotations

import functools
import hashlib
import posixpath
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cache.cloud.addresses import Address, address_of, is_address, is_url
from cache.cloud.buckets import ObjectFacts, open_bucket
from cache.errors import CloudError
from cache.system.memory_budget import memory_bytes
from embed.contents.file_ranges import MAX_BYTES
from embed.errors import ContentError

N_OBJECTS_AT_ONCE = 32  # requests on the way; each object stands in memory whole
MOST_FETCHED_BYTES = 2**25  # of a batch
MOST_HELD_BYTES = 2**29  # of objects that were hashed and are still to be encoded

__all__ = ["N_OBJECTS_AT_ONCE", "ObjectPlace", "fetch_together", "is_object", "locate_object"]


@dataclass(slots=True)
class ObjectPlace:
    """An object; its bytes are kept when they are read to be hashed, as far as memory permits, and read once then."""

    address: Address
    facts: ObjectFacts | None = None  # as the store told last
    content: bytes = b""
    fetched: bytes = b""  # for the next read alone

    def read(self) -> bytes:
        """Return the bytes, none where there are none.

        Raises:
            ContentError: there is no such object, the bucket refuses or fails to give it, or it is too large.
            CloudError: so many failed one after the other that none can be had any more.
        """
        if self.content:
            return self.content
        content, self.fetched = self.fetched, b""
        return content or self._read()

    def fetch(self) -> None:
        """Have the bytes at hand for the next read, which tells why if they cannot be had."""
        with suppress(ContentError, CloudError):
            self.fetched = self._read()

    def _read(self) -> bytes:
        bucket, key = open_bucket(self.address), self.address.key
        try:
            self.facts, content = bucket.get(key, most_bytes=MAX_BYTES)
        except FileNotFoundError as error:
            raise ContentError("missing") from error
        except CloudError as error:
            bucket.doubt(error)
            raise ContentError("unreadable") from error
        bucket.trust(key)
        if self.facts.n_bytes > MAX_BYTES:
            raise ContentError("too_large")
        if _held_bytes.take(len(content)):
            self.content = content
        return content

    def look(self) -> None:
        """Ask the store what there is to know of the object; what cannot be had is told by reading it."""
        try:
            self.facts = open_bucket(self.address).head(self.address.key)
        except (CloudError, FileNotFoundError):
            self.facts = None

    def identity(self) -> bytes:
        """Return 16 bytes that change when the object does; none where the store told nothing."""
        if self.facts is None or not self.facts.etag:
            return b""
        facts = f"{self.facts.etag}\n{self.facts.n_bytes}\n{self.address}"
        return hashlib.blake2b(facts.encode("utf-8", "surrogateescape"), digest_size=16, person=b"object").digest()

    def __del__(self) -> None:
        _held_bytes.give_back(len(self.content))


def fetch_together(places: Iterable[object]) -> None:
    """Fetch the objects among some places beside each other, as far as `MOST_FETCHED_BYTES` go, to be read next."""
    n_bytes, objects = 0, []
    for place in places:
        if isinstance(place, ObjectPlace) and not place.content and place.facts is not None:
            n_bytes += place.facts.n_bytes
            if n_bytes > MOST_FETCHED_BYTES:
                break
            objects.append(place)
    if len(objects) > 1:
        list(_threads().map(ObjectPlace.fetch, objects))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(N_OBJECTS_AT_ONCE, thread_name_prefix="fetch")


class _HeldBytes:
    """How many bytes all places keep together, at most an eighth of the memory and half a GiB."""

    def __init__(self) -> None:
        self._n_bytes = 0
        self._lock = threading.RLock()  # a place may be forgotten in the middle of `take`

    def take(self, n_bytes: int) -> bool:
        """Count bytes as kept, and return whether there is room for them."""
        with self._lock:
            if self._n_bytes + n_bytes > min(MOST_HELD_BYTES, memory_bytes(None) // 4):
                return False
            self._n_bytes += n_bytes
            return True

    def give_back(self, n_bytes: int) -> None:
        with self._lock:
            self._n_bytes -= n_bytes


_held_bytes = _HeldBytes()


def is_object(cell: str) -> bool:
    """Return whether a cell is the URL of an object."""
    return is_url(cell) and is_address(cell.strip())


def locate_object(cell: str, root: Path, *, allow_outside: bool) -> ObjectPlace:
    """Return the object that a cell names by its URL, or relative to a `root` in a bucket.

    A URL may lead to any bucket where the root is a local folder: whoever may read there wrote it into the catalogue. A
    root in a bucket is a bound, unless it is allowed to go outside.

    Raises:
        ContentError: it is no object's name, or outside the root.
    """
    try:
        if is_object(cell):
            address = address_of(cell)
        else:
            base = address_of(root)
            if is_url(cell):
                raise ContentError("url")
            if cell.startswith("/"):
                raise ContentError("outside")
            key = posixpath.normpath(posixpath.join(base.key, cell))
            if key.startswith(".."):  # out of the bucket
                raise ContentError("outside")
            address = Address(base.scheme, base.bucket, key if key != "." else "")
    except CloudError as error:  # credentials in a URL
        raise ContentError("url") from error
    if not address.name:
        raise ContentError("not_a_file")
    if is_address(root) and not allow_outside:
        base = address_of(root)
        is_same = (address.scheme, address.bucket) == (base.scheme, base.bucket)
        if not is_same or not f"{address.key}/".startswith(f"{base.key.rstrip('/')}/".lstrip("/")):
            raise ContentError("outside")
    return ObjectPlace(address)
