"""What a run's folder says of the run: how it was made, and how good its heads are."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cache.system.reading import raise_if_refused
from heads.errors import RunError
from heads.experiment.findings.best_heads import choose_heads
from heads.runs.run_files import Config, find_cache, read_config
from heads.typed_json import read_object, typed

__all__ = ["Metrics", "RunFacts", "read_run"]


@dataclass(frozen=True)
class Metrics:
    """The parts of a run's ``metrics.json`` that a model card shows."""

    heads: dict[str, dict[str, Any]]
    missing: dict[str, dict[str, Any]]
    notes: list[str]
    verdicts: list[dict[str, Any]]


@dataclass(frozen=True)
class RunFacts:
    """A run's ``config.json`` and ``metrics.json``."""

    path: Path
    config: Config
    metrics: Metrics

    @property
    def best_head(self) -> str:
        """The saved head of the best macro-F1 on the validation rows, as the report chooses.

        Raises:
            RunError: the run does not say how good its heads are.
        """
        saved = {name: scores for name, scores in self.metrics.heads.items() if name in self.config.heads}
        try:
            return choose_heads(saved, list(self.config.encoders)).best
        except (LookupError, TypeError, ValueError) as error:
            raise _no_run(self.path, f"metrics.json has no scores: {error!r}") from error

    @property
    def cache_path(self) -> Path:
        """Where the run's cache is."""
        return find_cache(self.path, self.config)


def read_run(run_path: str | Path) -> RunFacts:
    """Return what a run's folder says of it.

    Raises:
        RunError: the folder is no run.
        UnreadableError: the system could not read a file of it.
    """
    run_path = Path(run_path)
    config = read_config(run_path)
    try:
        if lacking := [
            config_field.name for config_field in fields(Config)[:-2] if getattr(config, config_field.name) is None
        ]:
            raise ValueError(f"config.json lacks {lacking[0]}")
        metrics = typed(Metrics, read_object(run_path / "metrics.json"), where="metrics.json", more=True)
    except (OSError, ValueError) as error:
        raise_if_refused(error, run_path / "metrics.json")
        raise _no_run(run_path, error) from error
    return RunFacts(run_path, config, metrics)


def _no_run(run_path: Path, reason: object) -> RunError:
    return RunError(
        f"Expected a run to be a folder that heads-train wrote, but {run_path} is none ({reason}). See the folders in "
        "runs/."
    )
