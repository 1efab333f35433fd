"""A Ray cluster of two node processes on this machine, of a core each; it needs no network but the loopback."""

from __future__ import annotations

import shutil
import signal
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest

# Ray takes 127.0.0.1 for another name of the outer address, which it would then look for itself at.
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False, "object_store_memory": 80 * 2**20}


@contextmanager
def ray_cluster():
    """Yield a `ray.cluster_utils.Cluster`, and end its processes, and no others, at the end."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the path of a socket is short
    (Path(folder) / "ray").mkdir()
    handler = signal.getsignal(signal.SIGTERM)  # each node puts one of Ray's own there
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        warnings.simplefilter("ignore", ResourceWarning)
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        try:
            cluster.add_node(**NODE)
            yield cluster
        finally:
            cluster.shutdown()
            signal.signal(signal.SIGTERM, handler)
            shutil.rmtree(folder, ignore_errors=True)
