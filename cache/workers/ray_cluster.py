"""A Ray cluster: what a worker needs of it, connecting to it, and making a worker there."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cache.errors import SettingError
from cache.system.cores import limit_cores
from cache.version import version_here

__all__ = ["RaySettings", "connected", "import_ray", "make_worker", "start_arguments", "worker_class"]


@dataclass(frozen=True)
class RaySettings:
    """Which cluster, and what each worker gets of it.

    Raises:
        SettingError: a value is out of its range.
    """

    address: str | None = None  # None: one that is started here, for this call
    n_workers: int | None = None  # None: as many as the cluster has room for
    cpus_per_worker: int | None = None  # None: all of a node's, its share per GPU, or an even share of the cluster's
    gpus_per_worker: float = 0.0
    deadline_s: float = 3600.0  # of one task, and of a worker's start while none works

    def __post_init__(self) -> None:
        if self.n_workers is not None and self.n_workers < 1:
            raise SettingError(f"--workers: expected at least 1, got {self.n_workers}.")
        if self.cpus_per_worker is not None and self.cpus_per_worker < 1:
            raise SettingError(f"--cpus-per-worker: expected at least 1, got {self.cpus_per_worker}.")
        if self.gpus_per_worker < 0:
            raise SettingError(f"--gpus-per-worker: expected 0 or more, got {self.gpus_per_worker}.")
        if not self.deadline_s > 0:
            raise SettingError(f"--task-deadline: expected more than 0 seconds, got {self.deadline_s}.")

    def needs(self, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return what a worker needs of each of Ray's resources, on nodes that have so much of them.

        >>> RaySettings(gpus_per_worker=1).needs([{"CPU": 16, "GPU": 4}, {"CPU": 8, "GPU": 1}])
        {'CPU': 4, 'GPU': 1}
        """
        gpus, cpus = self.gpus_per_worker, self.cpus_per_worker
        if cpus is None:
            shares = [node.get("CPU", 0) // max(1, node.get("GPU", 0) // gpus if gpus else 1) for node in nodes]
            if self.n_workers is not None and not gpus:
                shares.append(sum(node.get("CPU", 0) for node in nodes) // self.n_workers)
            cpus = max(1, int(min((share for share in shares if share), default=1)))
        return {"CPU": cpus} | ({"GPU": gpus} if gpus else {})


def worker_class() -> type:
    """Return the class of a worker's actor; Ray sends it by value, so a node without embed-once can say so."""

    class Worker:
        def start(self, paths: list[str], n_cores: int, version: str, content: bytes) -> None:
            import os
            import sys

            sys.path[:0] = [path for path in paths if path not in sys.path and os.path.exists(path)]
            from cache.workers.ray_cluster import make_worker

            self._worker = make_worker(version, content, n_cores=n_cores)

        def do(self, task: Any) -> Any:
            return self._worker.do(task)

    return Worker


def start_arguments(kind: type, arguments: tuple[Any, ...], *, n_cores: int) -> tuple[list[str], int, str, bytes]:
    """Return the arguments of a worker's `start`: the paths of modules, its cores, the version here, and the pickle."""
    return [os.path.abspath(path) for path in sys.path], n_cores, version_here(), pickle.dumps((kind, arguments))


def make_worker(driver_version: str, content: bytes, *, n_cores: int) -> Any:
    """Return the worker whose class and arguments are pickled in `content`; it runs on a node.

    Raises:
        SettingError: the node has another version of embed-once than the driver.
    """
    if version_here() != driver_version:
        raise SettingError(
            f"Expected embed-once {driver_version} on every node, as the driver has it, got {version_here()} on "
            f"{os.uname().nodename}. Install the same version there."
        )
    limit_cores(n_cores)
    kind, arguments = pickle.loads(content)  # noqa: S301 - the driver made it
    return kind(*arguments)


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to the cluster of an address, or start one on this machine; an existing connection is used.

    Raises:
        SettingError: there is no such cluster.
    """
    if ray.is_initialized():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SettingError(
            f"--ray-address: expected a Ray cluster that answers, but {address or 'this machine'}: {reason} Start one "
            "(ray start --head), or correct the address."
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray has set its own
    try:
        yield
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """Return Ray's module, with usage statistics off.

    Raises:
        SettingError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise SettingError(
            "--engine ray needs Ray, but it is not installed here. Install it with pip install 'embed-once[ray]' (or "
            "ray), or leave --engine out."
        ) from error
    return ray
