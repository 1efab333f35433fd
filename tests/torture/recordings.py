"""Runs whose changes of the disk are recorded, and what each of them has promised by any instant."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from extracted import ROWS, STARTS, acknowledged_keys, keys_on_disk, n_encoded
from support import write_catalogue

from embed.contents.hash_cache import MAGIC
from heads.errors import HeadError, RunError
from heads.runs.folder import load_heads
from torture.campaign import AGAIN, LOST, UNNAMED, WRONG, LossError, Tools, require
from torture.extraction import ORDER, check_nothing_lost, starts
from torture.trained import TRAIN, trained_start


@dataclass(frozen=True)
class Recording:
    """One run: where it began, what was ordered, and the changes that it made."""

    name: str
    start: Path
    order: dict[str, Any]
    tools: Tools
    log: list[dict[str, Any]] = field(default_factory=list)

    def record(self, without: str | None = None) -> Recording:
        """Return it with the log of a run, in which the fsync of one `sync_site` may be left out."""
        folder = Path(shutil.copytree(self.start, self.tools.folder / "recorded"))
        writes = {"record": True, "without": without}
        code, stderr, log = self.tools.commands().run(folder, **self.order, writes=writes)
        assert code == 0, stderr
        shutil.rmtree(folder)
        return replace(self, log=[line for line in log if "change" in line or "acknowledged" in line])

    @property
    def sync_sites(self) -> set[str]:
        """The functions of the run that call fsync."""
        return {line["site"] for line in self.log if line.get("change") == "fsync"}

    def check(self, folder: Path, log: list[dict[str, Any]], is_done: bool, where: str) -> None:
        """Check the promises that the run had made by the end of a log.

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
        check_nothing_lost(folder, keys_on_disk(self.start) | acknowledged_keys(log), where)
        require((folder / "e.h5").exists() or not is_done, LOST, f"{where}: the cache is gone")

    def go_on(self, folder: Path, where: str) -> None:
        keys_before = keys_on_disk(folder)
        code, stderr, log = self.tools.commands().run(folder, **ORDER)
        require(code == 0, UNNAMED, f"{where}, then: {code} {stderr}")
        require(not acknowledged_keys(log) & keys_before and n_encoded(log) <= 10, AGAIN, where)


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


def recordings(tools: Tools) -> list[Recording]:
    """Return the recordings, which are made once a run."""
    if "recordings" not in tools.cached:
        bare, damaged = tools.folder / "without pictures", tools.folder / "a damaged part"
        write_catalogue(bare, [{**row, "image": ""} for row in ROWS])
        (bare / "e.h5.hints").write_bytes(MAGIC + hashlib.sha256(b"").digest())  # new ones would sync the folder, too
        usual = {start.kind: start.folder for start in starts(tools) if start.kind in STARTS[::2]}
        shutil.copytree(usual[STARTS[2]], damaged)
        part = min(damaged.glob("e.h5.journal/*.part.h5"))
        part.write_bytes(part.read_bytes()[:-1])
        folders = {bare.name: bare, **usual, damaged.name: damaged}
        runs: list[Recording] = [Extraction(name, folder, ORDER, tools) for name, folder in folders.items()]
        train = {"command": "heads-train", "arguments": TRAIN}
        runs.append(Training("training", trained_start(tools), train, tools))
        tools.cached["recordings"] = [run.record() for run in runs]
    return tools.cached["recordings"]
