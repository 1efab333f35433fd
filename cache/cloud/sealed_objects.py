"""Sealed caches in a bucket: one takes the place of the one that it was made of, and of no other.

Up to `LARGEST_PUT` bytes, that is one request, which the store refuses where the object has another tag by then: of two
that seal at once, exactly one succeeds, and the other is told.

A larger cache is sent in pieces, and obstore cannot make the last request of these depend on a tag. So a process that
replaces the cache of some tag first puts a claim on it, ``<cache>.journal/claim-<digest of the tag>``, which only one
can have, then checks that the tag is still the same, and checks it again when all pieces are sent. So large caches
never replace each other. What remains open: a cache of less than `LARGEST_PUT` bytes that is sealed in the moment
between that last check and the end of the upload would be replaced. A claim of a machine that was lost stays, and its
removal is a person's to decide: the error says what to remove.

Readers see the old object or the new one, always whole: both ways put an object in place at once.
"""

from __future__ import annotations

import hashlib
import mmap
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from cache.cloud.buckets import Bucket, ConflictError, ObjectFacts
from cache.errors import CloudError

__all__ = ["check_conditional_writes", "put_cache"]

LARGEST_PUT = 2**30  # bytes; stores take 5 GB, and what is sent in one piece is sent anew when the line fails
PIECE_BYTES = 2**24


def check_conditional_writes(bucket: Bucket, key: str) -> None:
    """Check that a cache can be written beside `key`, and that what is there already is not overwritten.

    Raises:
        CloudError: the bucket cannot be had or written, or writes where it was asked not to.
    """
    probe = f"{key}.journal/probe-{uuid.uuid4().hex}"
    try:
        first_facts = _put_probe(bucket, probe, b"1", replaces=None)
    except CloudError as error:
        raise CloudError(
            f"Expected a bucket that can be written, to keep a cache in it. {error} Or name another cache with -o."
        ) from error.__cause__
    try:
        second_facts = _put_probe(bucket, probe, b"2", replaces=first_facts)
        is_refused = all(_is_refused(bucket, probe, facts) for facts in (None, first_facts))
    finally:
        bucket.delete([probe])
    if not is_refused or second_facts.etag == first_facts.etag:
        raise CloudError(
            f"Expected {bucket.url} to refuse to write an object that is there already (If-None-Match, If-Match), but "
            "it wrote it: two machines could overwrite each other's work. Use a store that honours conditional writes, "
            "or a local cache that you copy there."
        )


def _put_probe(bucket: Bucket, probe: str, content: bytes, *, replaces: ObjectFacts | None) -> ObjectFacts:
    """Write an object whose name nobody else knows, so that a conflict is with our own try that was not answered."""
    try:
        return bucket.put(probe, content, replaces=replaces)
    except ConflictError:
        facts, stored_content = bucket.get(probe)
        if stored_content != content:
            raise
        return facts


def _is_refused(bucket: Bucket, probe: str, replaces: ObjectFacts | None) -> bool:
    try:
        bucket.put(probe, b"3", replaces=replaces)
    except ConflictError:
        return True
    return False


def put_cache(bucket: Bucket, key: str, path: Path, *, replaces: ObjectFacts | None, owner: str) -> ObjectFacts:
    """Put a sealed cache in place of the one that it `replaces`, or where there is none; return its facts.

    `owner` names what seals on this machine, so that its own claims are recognised.

    Raises:
        ConflictError: another cache is there by now.
        CloudError: it could not be put there, or somebody else claims to be about to.
    """
    n_bytes = path.stat().st_size
    if n_bytes > LARGEST_PUT:
        return _put_large(bucket, key, path, replaces=replaces, owner=owner)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return bucket.put(key, content, replaces=replaces)


def _put_large(bucket: Bucket, key: str, path: Path, *, replaces: ObjectFacts | None, owner: str) -> ObjectFacts:
    etag = None if replaces is None else replaces.etag
    claim = f"{key}.journal/claim-{hashlib.sha256((etag or '').encode()).hexdigest()[:32]}"
    _claim(bucket, key, claim, claimant=f"{owner} on {socket.gethostname()}".encode())
    try:
        _check_tag(bucket, key, etag)
        with path.open("rb") as file:
            pieces = iter(lambda: file.read(PIECE_BYTES), b"")
            bucket.put_pieces(key, pieces, check=lambda: _check_tag(bucket, key, etag))
        facts = bucket.head(key)
    finally:
        bucket.delete([claim])
    if facts.n_bytes != path.stat().st_size:
        raise ConflictError(f"Expected {bucket.url}/{key} to be as it was put there, got another object.")
    return facts


def _claim(bucket: Bucket, key: str, claim: str, *, claimant: bytes) -> None:
    """Put a claim, unless the same claimant has left it there when it was killed.

    Raises:
        CloudError: another process has the claim.
    """
    while True:
        try:
            bucket.put(claim, claimant)
            return
        except ConflictError:
            with suppress(FileNotFoundError):  # it was taken back meanwhile
                holder = bucket.get(claim, most_bytes=2**16)[1]
                if holder == claimant:
                    return
                raise CloudError(
                    f"{holder.decode(errors='replace')} is sealing {bucket.url}/{key}. Wait for it, or if it is gone, "
                    f"remove {bucket.url}/{claim} and type the same line again. All vectors are in the bucket."
                ) from None


def _check_tag(bucket: Bucket, key: str, etag: str | None) -> None:
    """Check that the object still has this tag; None: that there is none.

    Raises:
        ConflictError: it has another one.
    """
    try:
        current_etag = bucket.head(key).etag
    except FileNotFoundError:
        current_etag = None
    if current_etag != etag:
        raise ConflictError(f"Expected {bucket.url}/{key} to be as it was, got another object.")
