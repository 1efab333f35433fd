"""Everything of this project that a reader may be given: a cache with a journal, hints, a result cache and a run."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from altered import read_all

from cache import Inventory, Journal
from cache.errors import EmbedOnceError
from embed.contents.hash_cache import Hints
from heads.experiment.result_store import ResultCache
from heads.prediction.run import Run
from torture.campaign import Tools
from torture.extraction import starts
from torture.trained import ABLATE, MEMO, TRAIN, trained_start


def targets(tools: Tools) -> Path:
    """Return a folder with all of them, made once."""
    folder = tools.folder / "targets"
    if not folder.exists():
        shutil.copytree(starts(tools)[2].folder, folder)
        shutil.copytree(trained_start(tools), folder / "heads")
        for command, arguments in (
            ("heads-train", TRAIN),
            ("heads-ablate", ["e.h5", *ABLATE, "--memo", MEMO]),
        ):
            code, stderr, _ = tools.commands().run(folder / "heads", command=command, arguments=arguments)
            assert code == 0, stderr
        with closing(sqlite3.connect(folder / "heads" / MEMO)) as connection:
            keys = [key for (key,) in connection.execute("SELECT key FROM outcome")]
        (folder / "heads" / "keys.json").write_text(json.dumps(keys))
        for name in ("log", "stdout", "stderr"):
            (folder / name).unlink()
    return folder


def kinds_of(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each kind, relative to the folder."""
    patterns = {
        "cache": "e.h5", "part": "e.h5.journal/*.part.h5", "hints": "e.h5.hints",
        "result cache": f"heads/{MEMO}", "run": "heads/runs/first/*",
    }  # fmt: skip
    return {
        kind: sorted(path.relative_to(folder) for path in folder.glob(pattern)) for kind, pattern in patterns.items()
    }


def read_cache(folder: Path) -> object:
    return read_all(folder / "e.h5")


def read_parts(folder: Path) -> object:
    """Return which vectors the journal's parts hold; a damaged one is set aside, which is an answer too."""
    with Journal(folder / "e.h5") as journal:
        inventory = Inventory(folder / "e.h5", journal)
        keys = {entry_key: sorted(entry.keys) for entry_key, entry in inventory.entries.items()}
        vectors = {}
        for _, part in journal.parts():
            vectors |= {
                (part.spec.modality, key): row.tobytes() for key, row in zip(part.keys, part.vectors, strict=True)
            }
    return keys, vectors


def read_hints(folder: Path) -> object:
    hints = Hints(folder / "e.h5.hints", folder=folder)
    return [table.tobytes() for table in hints._table]


def read_results(folder: Path) -> object:
    keys = json.loads((folder / "heads" / "keys.json").read_text())
    with ResultCache(folder / "heads" / MEMO) as results:
        return {key: repr(results.get(key, n_rows=30, n_classes=2)) for key in keys}


def read_run(folder: Path) -> object:
    run = Run(folder / "heads" / "runs" / "first")
    return {name: [tensor.tolist() for tensor in head.module.state_dict().values()] for name, head in run.heads.items()}


READERS: dict[str, Callable[[Path], object]] = {
    "cache": read_cache, "part": read_parts, "hints": read_hints, "result cache": read_results, "run": read_run,
}  # fmt: skip


def answer(kind: str, folder: Path) -> object:
    """Return what a reader says, or the name of its error."""
    try:
        return READERS[kind](folder)
    except (EmbedOnceError, FileNotFoundError) as error:
        return error
