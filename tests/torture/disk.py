"""A disk after a loss of power: what it may hold of the changes that a process made."""

from __future__ import annotations

import base64
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class File:
    """A file by its bytes, which are on the disk or on their way."""

    content: bytes
    is_synced: bool

    def read(self, chance: random.Random) -> bytes:
        """Return what the disk may hold: nothing, a beginning, or zeros, where it was not synced."""
        if self.is_synced:
            return self.content
        n_bytes = chance.randrange(len(self.content) + 1)
        return chance.choice([b"", self.content[:n_bytes], bytes(len(self.content)), self.content])


class Disk:
    """Folders with the entries that are on the disk, and each entry's changes since its folder was synced.

    A folder is a number; the first is 0. Entries of a folder change independently of each other, a file's bytes are
    kept by an fsync alone, and an entry of a folder by an fsync of that folder alone: no file system keeps less.
    """

    def __init__(self, start: Path) -> None:
        self.live: dict[str, int] = {".": 0}  # folders by their paths, as the process sees them
        self.on_disk: dict[int, dict[str, File | int | None]] = defaultdict(dict)
        self.pending: dict[int, dict[str, list[File | int | None]]] = defaultdict(lambda: defaultdict(list))
        self.synced: dict[int, bytes] = {}  # by inode
        self.n_folders = 1
        for path in sorted(start.rglob("*")):
            folder, name = self._parent_and_name(str(path.relative_to(start)))
            self.on_disk[folder][name] = (
                self._new_folder(path.relative_to(start)) if path.is_dir() else File(path.read_bytes(), True)
            )

    def change(self, line: Mapping[str, Any]) -> None:
        """Make a change of `failing_writes.Writes`' record."""
        kind = line.get("change")
        if kind is None:
            return
        folder, name = self._parent_and_name(line["path"])
        if kind == "fsync" and line.get("folder"):
            for entry, values in self.pending.pop(self.live[line["path"]], {}).items():
                self.on_disk[self.live[line["path"]]][entry] = values[-1]
        elif kind == "fsync":
            self.synced[line["file"]] = content = base64.b64decode(line["content"])
            self.pending[folder][name].append(File(content, True))
        elif kind == "rename":
            self._rename(line, folder, name)
        elif kind == "mkdir":
            self.pending[folder][name].append(self._new_folder(line["path"]))
        else:  # unlink, rmdir
            self.pending[folder][name].append(None)
            self.live.pop(line["path"], None)

    def write_state(self, folder: Path, chance: random.Random) -> None:
        """Write what the disk may hold into a folder."""
        self._write(0, folder, chance, chance.choice(["first", "last", "any"]))

    def _write(self, number: int, folder: Path, chance: random.Random, which: str) -> None:
        folder.mkdir(parents=True)
        entries = dict(self.on_disk[number])
        for name, values in sorted(self.pending.get(number, {}).items()):
            states = [entries.get(name), *values]
            entries[name] = {"first": states[0], "last": states[-1]}.get(which, chance.choice(states))
        for name, entry in entries.items():
            if isinstance(entry, File):
                (folder / name).write_bytes(entry.read(chance))
            elif entry is not None:
                self._write(entry, folder / name, chance, which)

    def _rename(self, line: Mapping[str, Any], folder: int, name: str) -> None:
        source_folder, source = self._parent_and_name(line["source"])
        if line.get("folder"):
            value: File | int = self.live.pop(line["source"])
            self.live[line["path"]] = value
        else:
            content = base64.b64decode(line["content"])
            value = File(content, self.synced.get(line["file"]) == content)
        self.pending[source_folder][source].append(None)
        self.pending[folder][name].append(value)

    def _parent_and_name(self, path: str) -> tuple[int, str]:
        return self.live[str(Path(path).parent)], Path(path).name

    def _new_folder(self, path: object) -> int:
        self.live[str(path)] = self.n_folders
        self.n_folders += 1
        return self.n_folders - 1
