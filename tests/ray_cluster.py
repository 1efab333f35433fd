"""A Ray cluster of two node processes on this machine, of a core each; it needs no network but the loopback."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

# Ray takes 127.0.0.1 for another name of the outer address, which it would then look for itself at.
NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.2", "include_dashboard": False, "object_store_memory": 80 * 2**20}
# What passes on what workers print, and what asks a cloud for more machines, are for nobody here.
HEAD = {**NODE, "include_log_monitor": False, "no_monitor": True}

_open = ExitStack()
_clusters = []


def cluster():
    """Return the `ray.cluster_utils.Cluster` of this process, which is started for the first who asks."""
    if not _clusters:
        _clusters.append(_open.enter_context(_cluster()))
    return _clusters[0]


def close():
    """End the cluster's processes, and no others."""
    _clusters.clear()
    _open.close()


@contextmanager
def _cluster():
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the path of a socket is short
    (Path(folder) / "ray").mkdir()
    handler = signal.getsignal(signal.SIGTERM)  # each node puts one of Ray's own there
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            from ray.cluster_utils import Cluster

            cluster = Cluster(initialize_head=True, head_node_args=HEAD)
        try:
            cluster.add_node(**NODE)
            yield cluster
        finally:
            cluster.shutdown()
            signal.signal(signal.SIGTERM, handler)
            shutil.rmtree(folder, ignore_errors=True)


class Beside:
    """A function in a thread beside a test, inside a ``with`` block whose end waits for it.

    Nothing here is bounded by time: on a busy machine Ray may need a minute for what else takes it a second. What waits
    for a fact waits as long as the function runs that is to bring it about.
    """

    def __init__(self, function):
        self._function = function
        self._result = self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is None:  # else the thread is left alone: what it waits for may never be
            self.result()

    def result(self):
        """Return what the function returned, or raise what it raised, once it has ended."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def await_(self, is_so):
        """Wait until something is so, which the function brings about."""
        while not is_so():
            if not self._thread.is_alive() and not is_so():
                self.result()
                pytest.fail("the function ended, and it is not so")
            time.sleep(0.05)
