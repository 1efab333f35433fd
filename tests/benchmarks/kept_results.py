"""Results that are kept in a JSON file as they come, so that a stopped measurement goes on where it was."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["KeptResults"]

SCORES = ("accuracy", "macro_f1", "seconds")


class KeptResults:
    """Cells of a table, each a problem and a number of labels, with a list of results a head.

    The n-th entries of all lists of a cell are of the same rows.
    """

    def __init__(self, path: Path | None, *, command: str, protocol: Mapping[str, object]) -> None:
        self._path = path
        self._results: dict[str, Any] = {
            "date": time.strftime("%Y-%m-%d"),
            "command": command,
            "machine": {"device": "cpu", "cores": os.cpu_count()},
            "versions": {"torch": torch.__version__, "numpy": np.__version__},
            "protocol": dict(protocol),
            "cells": [],
        }
        if path is not None and path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["protocol"] != dict(protocol):
                raise SystemExit(
                    f"Expected results of {dict(protocol)}, got {stored['protocol']}. Name another --json."
                )
            self._results = stored

    def cell(self, problem: str, per_class: int) -> dict[str, Any]:
        """Return what is kept of a problem and a number of labels; a new cell where nothing is."""
        cell: dict[str, Any]
        for cell in self._results["cells"]:
            if (cell["problem"], cell["per_class"]) == (problem, per_class):
                return cell
        cell = {"problem": problem, "per_class": per_class, "heads": {}}
        self._results["cells"].append(cell)
        return cell

    def add(self, cell: dict[str, Any], head: str, result: Mapping[str, float]) -> None:
        """Keep a result of a head."""
        lists = cell["heads"].setdefault(head, {name: [] for name in SCORES})
        for name in SCORES:
            lists[name].append(round(result[name], 2))

    def save(self) -> None:
        """Write all to the file, where there is one."""
        if self._path is None:
            return
        text = json.dumps(self._results, indent=1)
        text = re.sub(r"\[([\s\d.,\-]*)\]", lambda match: f"[{' '.join(match[1].split())}]", text)
        beside = self._path.with_suffix(".part")
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(self._path)
