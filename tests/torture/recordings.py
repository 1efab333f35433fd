"""Runs whose changes of the disk are recorded, and what each of them has promised by any instant."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extracted import ROWS, STARTS, acknowledged, keys_on_disk, n_encoded
from support import write_catalogue

from embed.contents.hash_cache import MAGIC
from heads.errors import HeadError, RunError
from heads.runs.folder import load_heads
from torture.campaign import AGAIN, LOST, UNNAMED, WRONG, LossError, Tools, require
from torture.extraction import ORDER, check_kept, starts
from torture.trained import TRAIN, start


@dataclass(frozen=True)
class Recording:
    """One run: where it began, the changes that it made, and the same without one of its fsyncs."""

    name: str
    start: Path
    log: list[dict[str, Any]]
    is_other: bool  # whether an fsync was left out
    tools: Tools

    def check(self, folder: Path, log: list[dict[str, Any]], is_done: bool, where: str) -> None:
        """Check what was promised by then.

        Raises:
            LossError: it does not hold.
        """
        raise NotImplementedError

    def go_on(self, folder: Path, where: str) -> None:
        """Check that the same command goes on from a state."""
        raise NotImplementedError


class Extraction(Recording):
    """What is acknowledged is on the disk."""

    def check(self, folder: Path, log: list[dict[str, Any]], is_done: bool, where: str) -> None:
        check_kept(folder, keys_on_disk(self.start) | acknowledged(log), where)
        require((folder / "e.h5").exists() or not is_done, LOST, f"{where}: the cache is gone")

    def go_on(self, folder: Path, where: str) -> None:
        kept = keys_on_disk(folder)
        code, stderr, log = self.tools.commands().run(folder, **ORDER)
        require(code == 0, UNNAMED, f"{where}, then: {code} {stderr}")
        require(not acknowledged(log) & kept and n_encoded(log) <= 10, AGAIN, where)


class Training(Recording):
    """A run's folder is absent or whole, and there when the command has ended."""

    def check(self, folder: Path, log: list[dict[str, Any]], is_done: bool, where: str) -> None:  # noqa: ARG002 - as all
        run_path = folder / "runs" / "first"
        require(run_path.exists() or not is_done, LOST, f"{where}: the run is gone")
        if run_path.exists():
            try:
                load_heads(run_path)
            except (RunError, HeadError, OSError) as error:
                raise LossError(WRONG, f"{where}: {error}") from error

    def go_on(self, folder: Path, where: str) -> None:
        code, stderr, _ = self.tools.commands().run(folder, command="heads-train", arguments=TRAIN)
        is_there = "exists" in stderr
        require(code == int(is_there) and "Traceback" not in stderr, UNNAMED, f"{where}, then: {code} {stderr}")


def recordings(tools: Tools, without: str | None = None) -> list[Recording]:
    """Return the recordings, those without one fsync where its place is named."""
    name = f"recordings without {without}"
    if name not in tools.cached:
        tools.cached[name] = [*_extractions(tools, without), _training(tools, without)]
    return tools.cached[name]


def _extractions(tools: Tools, without: str | None) -> list[Recording]:
    made = []
    folders = {one.kind: one.folder for one in starts(tools) if one.kind in STARTS[::2]}
    folders["without pictures"] = bare = tools.folder / "without pictures"  # else the hints sync the folder, too
    write_catalogue(bare, [{**row, "image": ""} for row in ROWS])
    (bare / "e.h5.hints").write_bytes(MAGIC + hashlib.sha256(b"").digest())
    folders["a damaged part"] = tools.folder / "a damaged part"
    shutil.copytree(folders[STARTS[2]], folders["a damaged part"], dirs_exist_ok=True)
    damaged = min(folders["a damaged part"].glob("e.h5.journal/*.part.h5"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for name, folder in folders.items():
        log = _record(tools, folder, without, **ORDER)
        made.append(Extraction(name, folder, log, without in _places(tools, name, log), tools))
    return made


def _training(tools: Tools, without: str | None) -> Recording:
    folder = start(tools)
    log = _record(tools, folder, without, command="heads-train", arguments=TRAIN)
    return Training("a training", folder, log, without in _places(tools, "a training", log), tools)


def _places(tools: Tools, name: str, log: list[dict[str, Any]]) -> set[str]:
    """Return where the run of a name syncs, as it did the first time, when nothing was left out."""
    return tools.cached.setdefault(
        f"places of {name}", {line["place"] for line in log if line.get("change") == "fsync"}
    )


def _record(tools: Tools, start: Path, without: str | None, **order: Any) -> list[dict[str, Any]]:
    folder = Path(shutil.copytree(start, tools.folder / "recorded"))
    code, stderr, log = tools.commands().run(folder, **order, writes={"record": True, "without": without})
    assert code == 0, stderr
    shutil.rmtree(folder)
    return [line for line in log if "change" in line or "kept" in line]
