"""The options of commands for a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cache.workers.ray_cluster import RaySettings

__all__ = ["ray_options", "take_ray_settings"]

_DEADLINE_S = RaySettings().deadline_s
_OPTIONS = {
    "address": click.option("--ray-address", help="Of --engine ray: host:port, or auto; default: this machine."),
    "n_workers": click.option(
        "--workers", "ray_n_workers", type=int, help="Of --engine ray: how many; default: as there is room for."
    ),
    "cpus_per_worker": click.option(
        "--cpus-per-worker", "ray_cpus_per_worker", type=int, help="Default: all of a node, or its share per GPU."
    ),
    "gpus_per_worker": click.option(
        "--gpus-per-worker", "ray_gpus_per_worker", type=float, default=0.0, show_default=True, help="Of --engine ray."
    ),
    "deadline_s": click.option(
        "--task-deadline", "ray_deadline_s", type=float, default=_DEADLINE_S, show_default=True,
        help="Seconds after which a worker is taken to hang, and replaced.",
    ),
}  # fmt: skip


def ray_options(*, without: tuple[str, ...] = ()) -> Callable[[Any], Any]:
    """Return a decorator that adds an option for each field of `RaySettings` but those of `without`."""

    def decorate(command: Any) -> Any:
        for field in reversed([name for name in _OPTIONS if name not in without]):
            command = _OPTIONS[field](command)
        return command

    return decorate


def take_ray_settings(options: dict[str, Any]) -> RaySettings:
    """Remove the values of these options from all of a command's, and return them as settings."""
    values = {field: options.pop(f"ray_{field}") for field in _OPTIONS if f"ray_{field}" in options}
    return RaySettings(**values)
