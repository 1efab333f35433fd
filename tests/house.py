"""The project as data for tests of its rules: its packages, folders, files and commands, and what a process loads."""

from __future__ import annotations

import ast
import configparser
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from support import ROOT

__all__ = [
    "FILES",
    "FOLDERS",
    "HEAVY",
    "PACKAGES",
    "SCRIPTS",
    "SETUP",
    "files_in",
    "modules_after",
    "tree_of",
]

PACKAGES = ("cache", "embed", "heads")
HEAVY = {"torch", "torchvision", "transformers"}


SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
SCRIPTS = dict(
    (part.strip() for part in line.split("="))
    for line in SETUP["options.entry_points"]["console_scripts"].strip().splitlines()
)
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
FOLDERS = sorted({str(path.parent.relative_to(ROOT)) for path in FILES})


def files_in(folder: str) -> list[Path]:
    """Return the modules of a folder, without those of the folders in it."""
    return [path for path in FILES if path.parent == ROOT / folder]


@functools.cache
def tree_of(source: str) -> ast.Module:
    """Return the syntax tree of a source, which several rules are held against."""
    return ast.parse(source)


def modules_after(*command: str | Path, folder: Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a launcher in a process of its own; return the completed process, and the top-level modules it loaded."""
    report = folder / "modules.json"
    (folder / "sitecustomize.py").write_text(
        "import atexit, json, sys\n"
        f"atexit.register(lambda: open({str(report)!r}, 'w').write(json.dumps(sorted(sys.modules))))\n"
    )
    completed = subprocess.run(
        [sys.executable, ROOT / "bin" / command[0], *command[1:]],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return completed, {name.split(".")[0] for name in json.loads(report.read_text())}
