"""The run folder: all that a training found, in files that anybody can read.

``config.json`` says how to do it again, ``metrics.json`` what was measured, ``predictions.csv`` each head's answer for
each test product, and each head stands in ``<head>.safetensors`` and ``<head>.json``. The folder appears whole or
not at all; ``report.html`` is put into it afterwards.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from cache.aside import write_aside
from cache.reading import facts_of, raise_if_refused
from heads.errors import RunError
from heads.modules.saved_head import TrainedHead, load_head

__all__ = ["check_name", "load_heads", "write_answers", "write_page", "write_run"]


def write_run(runs_path: Path, name: str | None, usual_name: str, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a folder aside, put it in place below `runs_path`, and return where it is.

    Without a name it is the usual one with the next free number.

    Raises:
        RunError: there is a run of that name already, or the name is none for a folder.
    """
    check_name(runs_path, name)
    runs_path.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=runs_path))
    aside.chmod(0o777 & ~_umask())  # mkdtemp's folders are its owner's alone
    try:
        write(aside)
        return _put_in_place(aside, runs_path, name, usual_name)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def write_page(run_path: Path, page: str) -> Path:
    """Put the report into a run's folder, whole or not at all, and return where it is."""
    return write_aside(
        run_path / "report.html", lambda aside: aside.write_text(page, encoding="utf-8"), folder=run_path
    )


def check_name(runs_path: Path, name: str | None) -> None:
    """Check that a run may have this name, so that nobody trains for nothing.

    Raises:
        RunError: there is a run of that name already, or it is no name for a folder.
    """
    if name is None:
        return
    if not re.fullmatch(r"[\w.+-][\w.+ -]{0,199}", name) or name.strip(".") == "":
        raise RunError(f"--name: expected a plain folder name, got {name!r}.")
    if facts_of(runs_path / name) is not None:
        raise RunError(
            f"Expected a run to have a name of its own, but {runs_path / name} exists. Choose another --name."
        )


def write_answers(
    file: IO[str],
    ids: Sequence[str],
    probabilities: Mapping[str, np.ndarray],
    classes: list[str],
    *,
    answered: Mapping[str, np.ndarray],
    labels: Sequence[str] | None = None,
) -> None:
    """Write one CSV line a product: its id, its label where it is known, each head's answer and its probability.

    Cells are written as they are, also such as a spreadsheet takes for formulas: they are there to be joined on.

    Shape:
        probabilities: {head: (n, K)}
        answered: {head: (n,) bool}; the other products have no vector of what the head sees, and no answer
    """
    writer = csv.writer(file)
    header = ["id", *(["label"] if labels else [])]
    writer.writerow(header + [column for name in probabilities for column in (name, f"{name}_probability")])
    best = {name: matrix.argmax(1) for name, matrix in probabilities.items()}
    for row, product_id in enumerate(ids):
        cells = [product_id, *([labels[row]] if labels else [])]
        for name, matrix in probabilities.items():
            answer = best[name][row]
            cells += [classes[answer], f"{matrix[row, answer]:.6f}"] if answered[name][row] else ["", ""]
        writer.writerow(cells)


def load_heads(
    run_path: str | Path, names: Sequence[str] | None = None, *, plugins: bool = False
) -> dict[str, TrainedHead]:
    """Return the heads of a run by their names, or those asked for; `plugins` runs the code of a user's own classes.

    Raises:
        RunError: the folder is no run, or has no such head.
        HeadError: a head cannot be loaded.
        UnreadableError: the system could not read a file of the run.
    """
    run_path = Path(run_path)
    try:
        saved = json.loads((run_path / "config.json").read_text(encoding="utf-8"))["heads"]
        if not saved or not all(isinstance(name, str) for name in saved):
            raise ValueError("no heads")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise_if_refused(error, run_path / "config.json")
        raise RunError(
            f"Expected a run to be a folder that heads-train wrote, but {run_path} is none. See the folders in runs/."
        ) from error
    if unknown := [name for name in names or [] if name not in saved]:
        raise RunError(f"--head: expected one of {', '.join(saved)}, got {unknown[0]}.")
    return {name: load_head(run_path / name, plugins=plugins) for name in names or saved}


def _put_in_place(aside: Path, runs_path: Path, name: str | None, usual_name: str) -> Path:
    plain = re.sub(r"[^\w.+-]+", "-", usual_name).strip("-.")[:60] or "run"
    for number in range(1, 1_000_000) if name is None else [1]:
        path = runs_path / (f"{plain}-{number:03}" if name is None else name)
        try:
            aside.rename(path)  # fails where a run stands there already: a run is never empty
        except OSError:
            if facts_of(path) is None:
                raise
        else:
            return path
    raise RunError(f"Expected a run to have a name of its own, but {runs_path / str(name)} exists.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
