"""Pictures in tar shards, whose cells are ``<shard>.tar/<member>``: found by the member's name, read from its place."""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["ShardMembers", "split_member"]

MOST_MEMBERS = 1_000_000  # whose places are kept, of the shards that were asked for last


def split_member(cell: str) -> tuple[str, str]:
    """Return the shard and the member that a cell names; no member where it names no shard.

    >>> split_member("shards/a-001.tar/shirts/7.jpg"), split_member("shirts/7.jpg")
    (('shards/a-001.tar', 'shirts/7.jpg'), ('shirts/7.jpg', ''))
    """
    parts = cell.split("/")
    for place, part in enumerate(parts[:-1], 1):
        if part.lower().endswith(".tar"):
            return "/".join(parts[:place]), "/".join(parts[place:])
    return cell, ""


class ShardMembers:
    """Where members stand in shards, each of which is looked through once; threads may share it."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], dict[str, tuple[int, int]]] = {}  # shard -> member -> offset, bytes
        self._lock = threading.Lock()

    def read(self, file: BinaryIO, member: str, *, shard: tuple[int, ...], most_bytes: int) -> bytes:
        """Return the bytes of a member of an open shard; `shard` tells it from other files.

        Raises:
            ValueError: there is no such member, or it has too many bytes.
            tarfile.TarError: the file is no shard, or damaged.
        """
        with self._lock:
            places = self._places.pop(shard, None)
            if places is None:
                places = dict(_members(file))
            self._places[shard] = places  # the last of them
            while len(self._places) > 1 and sum(map(len, self._places.values())) > MOST_MEMBERS:
                del self._places[next(iter(self._places))]
        offset, n_bytes = places.get(member, (0, -1))
        if not 0 <= n_bytes <= most_bytes:
            raise ValueError("the shard has no such member, or one that is too large")
        file.seek(offset)
        return file.read(n_bytes)


def _members(file: BinaryIO) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the names and places of a shard's first members, of those that are plain files."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for _ in range(MOST_MEMBERS):
            member = tar.next()
            if member is None or member.size < 0 or tar.offset <= member.offset:  # else this one for ever
                return
            vars(tar)["members"].clear()  # else it keeps them all
            if member.isreg() and not member.issparse():
                yield member.name.removeprefix("./"), (member.offset_data, member.size)
