"""Run a command from this checkout; where its libraries are missing, in the environment that is made for it first."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("click", "h5py", "numpy", "torch", "transformers")  # of those in setup.cfg


def run(module: str, command: str) -> None:
    """Run a command of a module, such as ``heads.commands.train`` and ``train``."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command takes it over, there is nothing to tell
    sys.path[0] = str(ROOT)  # the checkout comes first, and this folder goes
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        environment = subprocess.run([ROOT / "bin" / "environment"], stdout=subprocess.PIPE, text=True, check=False)
        if environment.returncode:
            sys.exit(1)
        python = environment.stdout.strip()
        os.execv(python, [python, *sys.argv])  # noqa: S606 - what it needs, and no shell
    getattr(importlib.import_module(module), command)()
