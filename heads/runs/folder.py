"""The run folder: the results of a training, in files that anybody can read.

``config.json`` says how to do it again, ``metrics.json`` what was measured, ``predictions.csv`` each head's answer for
each test product, and each head stands in ``<head>.safetensors`` and ``<head>.json``; ``manifest.json`` has the digests
of all of them (`heads.runs.run_files`). The folder appears whole or not at all; ``report.html`` is put into it
afterwards.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cache.errors import CacheLockedError
from cache.system.aside import fsync_folder, fsync_tree, write_aside
from cache.system.lock import WriterLock
from cache.system.reading import facts_of
from cache.system.stray_bytes import shown, shown_values
from heads.errors import RunError
from heads.experiment.findings.predictions import Predictions
from heads.runs.run_files import Config, check_manifest, read_config

if TYPE_CHECKING:
    from heads.modules.saving.saved_head import TrainedHead

__all__ = ["check_name", "load_heads", "reserved", "write_answers", "write_page", "write_run"]


def write_run(runs_path: Path, name: str | None, usual_name: str, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a folder aside, put it in place below `runs_path`, and return where it is.

    Without a name it is the usual one with the next free number.

    Raises:
        RunError: there is a run of that name already, or the name is none for a folder.
    """
    check_name(runs_path, name)
    runs_path.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=runs_path))
    aside.chmod(0o777 & ~_umask())  # mkdtemp gives all permissions to the owner alone
    path = aside
    try:
        write(aside)
        fsync_tree(aside)
        fsync_folder(runs_path.parent)  # the name of `runs_path` may be new, too
        path = _put_in_place(aside, runs_path, name, usual_name)
        fsync_folder(runs_path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return path


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


@contextmanager
def reserved(runs_path: Path, name: str | None) -> Iterator[None]:
    """Reserve a run's name while the block runs, so that no other process trains for nothing.

    Raises:
        RunError: there is a run of that name already, another process makes one, or it is no name for a folder.
    """
    check_name(runs_path, name)
    if name is None:
        yield
        return
    lock = WriterLock(runs_path / f".{name}.lock")
    try:
        lock.acquire()
    except CacheLockedError as error:
        killed = f", or remove {error.left_lock} if that was killed" if error.left_lock else ""
        raise RunError(
            f"Expected a run to have a name of its own, but another process makes {runs_path / name}. Choose another "
            f"--name{killed}."
        ) from error
    try:
        check_name(runs_path, name)
        yield
    finally:
        lock.release()


def write_answers(
    file: IO[str],
    ids: Sequence[str],
    answers: Mapping[str, Predictions],
    classes: list[str],
    *,
    labels: Sequence[str],
) -> None:
    """Write a CSV line for each product: its id, its label, each head's answer and its probability.

    Cells are written as they are, also those that a spreadsheet takes for formulas: other tables are joined by them.
    Products that have no vector of what the head sees have no answer.
    """
    writer = csv.writer(file)
    writer.writerow(["id", "label", *(column for name in answers for column in (name, f"{name}_probability"))])
    for row, (product_id, label) in enumerate(zip(ids, labels, strict=True)):
        cells = [product_id, label]
        for predictions in answers.values():
            if predictions.is_known[row]:
                cells += [classes[predictions.classes[row]], f"{predictions.confidences[row]:.6f}"]
            else:
                cells += ["", ""]
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
    from heads.modules.saving.saved_head import load_head  # torch takes a second, and a folder is written without it

    run_path = Path(run_path)
    config = read_config(run_path)
    if unknown := [name for name in names or [] if name not in config.heads]:
        raise RunError(f"--head: expected one of {', '.join(config.heads)}, got {unknown[0]}.")
    requested = list(names or config.heads)
    check_manifest(run_path, without=set(config.heads).difference(requested))
    heads = {name: load_head(run_path / name, plugins=plugins) for name in requested}
    _check_one_run(run_path, config, heads)
    return heads


def _check_one_run(run_path: Path, config: Config, heads: Mapping[str, TrainedHead]) -> None:
    """Check that heads are of one run: they answer with the same classes, and look at the same vectors."""
    first_head = next(iter(heads.values()))
    vectors_by_modality: dict[str, tuple[str, int]] = {}
    for name, head in heads.items():
        is_other = (head.label, head.classes) != (first_head.label, first_head.classes)
        is_other |= config.label not in (None, shown(head.label))
        is_other |= config.classes not in ([], shown_values(head.classes))
        for modality, dim in head.description.dims.items():
            vectors = (head.specs[modality].fingerprint, dim)
            is_other |= vectors_by_modality.setdefault(modality, vectors) != vectors
        if is_other:
            raise RunError(
                f"Expected all heads of {run_path} to be of one training, but {name} has other classes, or learned "
                "from other vectors. Restore the folder, or train again."
            )


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
