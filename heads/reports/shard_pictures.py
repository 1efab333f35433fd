"""Pictures in tar shards, whose cells are ``<shard>.tar/<member>``: found by the member's name, read at its offset."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

__all__ = ["ShardMembers", "split_member"]

MOST_MEMBERS = 1_000_000  # whose extents are kept, of the shards that were asked for last
MOST_HEADER_BYTES = 2**20  # of one member: a header may claim a name of gigabytes


def split_member(cell: str) -> tuple[str, str]:
    """Return the shard and the member that a cell names; no member where it names no shard.

    >>> split_member("shards/a-001.tar/shirts/7.jpg"), split_member("shirts/7.jpg")
    (('shards/a-001.tar', 'shirts/7.jpg'), ('shirts/7.jpg', ''))
    """
    parts = cell.split("/")
    for n_parts, part in enumerate(parts[:-1], 1):
        if part.lower().endswith(".tar"):
            return "/".join(parts[:n_parts]), "/".join(parts[n_parts:])
    return cell, ""


@dataclass
class _Shard:
    extents: dict[str, tuple[int, int]] | None = None  # member -> (offset, bytes); None: not looked through yet
    lock: threading.Lock = field(default_factory=threading.Lock)


class ShardMembers:
    """The extents of members in shards, each of which is looked through once; threads may share it."""

    def __init__(self) -> None:
        self._shards: dict[tuple[int, ...], _Shard] = {}
        self._lock = threading.Lock()  # of the dict; each shard has its own, so that none waits for another

    def read(self, file: BinaryIO, member: str, *, shard: tuple[int, ...], most_bytes: int) -> bytes:
        """Return the bytes of a member of an open shard; `shard` tells it from other files.

        Raises:
            ValueError: there is no such member, or it has too many bytes.
            tarfile.TarError: the file is no shard, or damaged.
        """
        with self._lock:
            held = self._shards[shard] = self._shards.pop(shard, _Shard())  # the last of them
        with held.lock:
            if held.extents is None:
                held.extents = dict(_members(file))
        with self._lock:
            while (
                len(self._shards) > 1
                and sum(len(held_shard.extents or ()) for held_shard in self._shards.values()) > MOST_MEMBERS
            ):
                del self._shards[next(iter(self._shards))]
        offset, n_bytes = held.extents.get(member, (0, -1))
        if not 0 <= n_bytes <= most_bytes:
            raise ValueError("the shard has no such member, or one that is too large")
        file.seek(offset)
        return file.read(n_bytes)


class _Headers:
    """A shard as a file of which no more than `n_left` bytes are read: tarfile reads as many as a header says."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell = file.seek, file.tell
        self._read = file.read
        self.n_left = MOST_HEADER_BYTES

    def read(self, n_bytes: int) -> bytes:
        if not 0 <= n_bytes <= self.n_left:
            raise tarfile.ReadError("a header is too large")
        self.n_left -= n_bytes
        return self._read(n_bytes)


def _members(file: BinaryIO) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield name and (offset, bytes) of a shard's members that are plain files, among its first MOST_MEMBERS."""
    headers = _Headers(file)
    with tarfile.open(fileobj=cast("BinaryIO", headers), mode="r:") as tar:
        for _ in range(MOST_MEMBERS):
            headers.n_left = MOST_HEADER_BYTES
            member = tar.next()
            if member is None or member.size < 0 or tar.offset <= member.offset:  # else this one for ever
                return
            vars(tar)["members"].clear()  # else it keeps them all
            if member.isreg() and not member.issparse():
                yield member.name.removeprefix("./"), (member.offset_data, member.size)
