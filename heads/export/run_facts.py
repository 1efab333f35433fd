"""What a run's folder says of the run: how it was made, and what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.reading import raise_if_refused
from heads.errors import RunError
from heads.experiment.best_heads import choose_heads

__all__ = ["RunFacts", "read_run"]

CONFIG = ("cache", "classes", "encoders", "heads", "label", "settings", "split", "untrained_encoders")
METRICS = ("heads", "missing", "notes", "verdicts")


@dataclass(frozen=True)
class RunFacts:
    """A run's ``config.json`` and ``metrics.json``."""

    path: Path
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def best_head(self) -> str:
        """The saved head of the best macro-F1 on the validation rows, as the report chooses."""
        saved = {name: scores for name, scores in self.metrics["heads"].items() if name in self.config["heads"]}
        return choose_heads(saved, list(self.config["encoders"])).best

    @property
    def cache_path(self) -> Path:
        """Where the run's cache is: as it was named, from here or from the folder that holds the runs' folder."""
        named = Path(self.config["cache"])
        beside = self.path.resolve().parent.parent / named
        return beside if not named.exists() and beside.exists() else named


def read_run(run_path: str | Path) -> RunFacts:
    """Return what a run's folder says of it.

    Raises:
        RunError: the folder is no run.
        UnreadableError: the system could not read a file of it.
    """
    run_path = Path(run_path)
    facts = []
    for name, keys in (("config.json", CONFIG), ("metrics.json", METRICS)):
        try:
            read = json.loads((run_path / name).read_text(encoding="utf-8"))
            if missing := [key for key in keys if key not in read]:
                raise ValueError(f"it lacks {missing[0]}")
        except (OSError, ValueError, TypeError) as error:
            raise_if_refused(error, run_path / name)
            raise RunError(
                f"Expected a run to be a folder that heads-train wrote, but {run_path} is none ({name}: {error}). See "
                "the folders in runs/."
            ) from error
        facts.append(read)
    return RunFacts(run_path, *facts)
