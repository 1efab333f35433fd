"""Addresses of objects: ``s3://bucket/key``, and paths that may be one.

A path of pathlib has one slash where a URL has two. So ``s3:/bucket/key``, which no file is called in practice, is an
address, too, and the text of a `StoragePath` is the URL that it was made from. No address that is read or written has
in its key what pathlib would change (``//``, ``/./``, a slash at the end).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PosixPath

from cache.errors import CloudError

__all__ = ["Address", "StoragePath", "address_of", "is_address", "is_url", "local_only", "resolved"]

_ADDRESS = re.compile(r"(s3|gs|az):/{1,2}(?!/)")
_URL = re.compile(
    r"\s*([a-z][a-z0-9+.-]*://|//[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]+)?/|data:[a-z]+/[a-z0-9.+-]+[;,])", re.IGNORECASE
)
_SECRET = re.compile(r"[?&](x-amz-|x-goog-|sig=|signature|token|awsaccesskeyid|googleaccessid|se=)", re.IGNORECASE)


class StoragePath(PosixPath):
    """A path of a file, or of an object in a bucket, whose text is its URL.

    >>> str(StoragePath("s3://bucket/shop/e.h5")), str(StoragePath("s3://bucket/shop/e.h5").with_name("f.h5"))
    ('s3://bucket/shop/e.h5', 's3://bucket/shop/f.h5')
    """

    def __str__(self) -> str:
        text = super().__str__()
        return _ADDRESS.sub(r"\1://", text, count=1) if is_address(text) else text


@dataclass(frozen=True, slots=True)
class Address:
    """Where an object is."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


def is_address(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is one of an object, with two slashes or with the one that pathlib leaves of them."""
    return _ADDRESS.match(str(path)) is not None


def is_url(text: str) -> bool:
    """Return whether a text begins as a URL does, of an object or of anything else, also of what it holds itself.

    >>> is_url("https://shop/1.jpg"), is_url("s3://bucket/1.jpg"), is_url("images/1.jpg")
    (True, True, False)
    >>> is_url("//cdn.shop.com/1.jpg"), is_url("//images/1.jpg"), is_url("data:image/png;base64,iVBO")
    (True, False, True)
    """
    return _URL.match(text) is not None


def address_of(path: str | os.PathLike[str]) -> Address:
    """Return the address in a URL, or in a path that was made of one.

    >>> address_of(Path("s3://bucket/shop/e.h5"))
    Address(scheme='s3', bucket='bucket', key='shop/e.h5')

    Raises:
        CloudError: it names no bucket, or has credentials in it, which the message does not show.
    """
    text = str(path)
    scheme, _, location = text.partition(":")
    bucket, _, key = location.lstrip("/").partition("/")
    if "@" in bucket or ":" in bucket or _SECRET.search(text):
        raise CloudError(
            f"Expected {scheme}://BUCKET/KEY without credentials, got a URL with a name, a password or a signature in "
            "it. Leave them out, and give them by environment variables."
        )
    if not bucket:
        raise CloudError(f"Expected {scheme}://BUCKET/KEY, got no bucket. Name it behind the two slashes.")
    return Address(scheme, bucket, key)


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file with its links followed, as a rename would replace them; an address as it is."""
    return StoragePath(path) if is_address(path) else Path(path).resolve()


def local_only(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file with its links followed.

    Raises:
        CloudError: it is the address of an object.
    """
    if is_address(path):
        raise CloudError(
            f"Expected a cache on a local disk, since vectors are added to it time and again, got {StoragePath(path)}. "
            "Name a file here; embed-extract -o writes the one in the bucket."
        )
    return Path(path).resolve()
