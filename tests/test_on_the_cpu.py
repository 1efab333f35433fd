"""Tests train and encode on the CPU where nothing is said, also on a machine with a GPU."""

import sys

import fork_server
import pytest
from support import ROOT

pytestmark = pytest.mark.slow

# A machine with a GPU, as far as PyTorch says; what is asked of it is one pytest run with the suite's conftest.py.
PYTEST = """
import sys, torch, pytest
torch.cuda.is_available = torch.backends.mps.is_available = lambda: True
sys.exit(pytest.main([*sys.argv[1:], "-q", "-p", "no:cacheprovider", "--noconftest", "-p", "conftest"]))
"""
ASKS = """
import os, pytest
from embed.encoders.device import find_devices
from heads.device import find_device

def test_auto():
    assert {device.type for device in [find_device("auto"), *find_devices("auto")]} == {"cpu"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""  # what processes inherit

@pytest.mark.gpu
def test_marked():
    assert {device.type for device in [find_device("auto"), *find_devices("auto")]} == {"cuda"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
"""


def test_auto_is_the_cpu_unless_a_test_is_marked_for_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    path = tmp_path / "test_asks.py"
    path.write_text(ASKS)
    line = [sys.executable, "-c", PYTEST, "-c", ROOT / "setup.cfg", f"--rootdir={ROOT}", path]
    line += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins that are in memory already
    done = fork_server.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
