"""Where the rows of a task come from while heads are trained: from memory, or from the disk a window at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from heads.device import to_device
from heads.training.job import Task

__all__ = ["DiskSource", "MemorySource", "Source", "View", "open_source"]

READ_ROWS = 8192  # rows that are read from the disk at once
NONE: Mapping[str, Tensor] = {}  # no modality of the rows has several views
MADE_ROWS = 512  # rows that are standardised at once: they stay in the processor's cache meanwhile


class View(NamedTuple):
    """Some rows at hand: matrices that hold them, and where in these each row stands.

    Shape:
        inputs: {modality: (n, D)}, standardised, in the type that heads compute in
        present: {modality: (n,) bool}
        targets: (n,) int64
        rows: any shape, int64, positions among the n
        vector_rows: {modality: the shape of rows}, the row of its matrix with each vector; views follow the plain rows
        products: of the same shape, int64 and on the CPU, the task's rows themselves
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor
    rows: Tensor
    products: Tensor
    vector_rows: Mapping[str, Tensor]


class Source(Protocol):
    """What gives a task's rows in the type and on the device of `like`, (0,)."""

    like: Tensor

    def view(self, rows: Tensor, modalities: Iterable[str], versions: Mapping[str, Tensor]) -> View:
        """Return some rows, at hand, with the vectors of the modalities.

        Shape:
            versions: {modality: the shape of rows}, which of the task's `augmented` a row shows, from 1; 0: the plain
        """


def open_source(task: Task, like: Tensor) -> Source:
    """Return the source of a task's rows."""
    return DiskSource(task, like) if task.on_disk else MemorySource(task, like)


class MemorySource:
    """All rows, standardised once and kept; of a modality that has several views one view below the other."""

    def __init__(self, task: Task, like: Tensor) -> None:
        self.like = like
        versions = {name: (matrix, *task.augmented.get(name, ())) for name, matrix in task.inputs.items()}
        self._views = {name: like.new_empty(len(views), *views[0].shape) for name, views in versions.items()}
        self._inputs = {name: views[0] for name, views in self._views.items()}  # (N, D) each
        self._all_views = {name: views.flatten(0, 1) for name, views in self._views.items()}  # (V * N, D) each
        _make(task, task.inputs, task.present, into=self._inputs)
        for name, augmented in task.augmented.items():
            for number, matrix in enumerate(augmented, start=1):
                _make(task, {name: matrix}, task.present, into={name: self._views[name][number]})
        self._present = {name: to_device(mask, like.device) for name, mask in task.present.items()}
        self._targets = to_device(task.targets, like.device)

    def view(self, rows: Tensor, modalities: Iterable[str], versions: Mapping[str, Tensor] = NONE) -> View:
        """Return the rows; the matrices that hold them are those of all rows."""
        names, device = sorted(modalities), self.like.device
        inputs = {name: (self._all_views if name in versions else self._inputs)[name] for name in names}
        device_rows = to_device(rows, device)
        vector_rows = dict.fromkeys(names, device_rows)
        for name, numbers in versions.items():
            vector_rows[name] = to_device(rows + len(self._targets) * numbers, device)
        present = {name: self._present[name] for name in names}
        return View(inputs, present, self._targets, device_rows, rows.cpu(), vector_rows)


class DiskSource:
    """Rows that are read from the disk and standardised for each view."""

    def __init__(self, task: Task, like: Tensor) -> None:
        self.like = like
        self._task = task

    def view(self, rows: Tensor, modalities: Iterable[str], versions: Mapping[str, Tensor] = NONE) -> View:
        """Return the rows; the matrices that hold them have these rows alone."""
        if versions:
            raise AssertionError("views are kept in memory")
        task, names = self._task, sorted(modalities)
        distinct, positions = rows.cpu().unique(return_inverse=True)
        inputs = {name: self.like.new_empty(len(distinct), task.inputs[name].shape[1]) for name in names}
        present = {name: task.present[name][distinct] for name in names}
        for start in range(0, len(distinct), READ_ROWS):
            block = slice(start, start + READ_ROWS)
            read = {name: task.inputs[name][distinct[block]] for name in names}
            block_inputs, block_present = (
                {name: by_modality[name][block] for name in names} for by_modality in (inputs, present)
            )
            _make(task, read, block_present, into=block_inputs)
        device = self.like.device
        present = {name: to_device(mask, device) for name, mask in present.items()}
        targets, positions = to_device(task.targets[distinct], device), to_device(positions, device)
        return View(inputs, present, targets, positions, rows.cpu(), dict.fromkeys(names, positions))


def _make(task: Task, read: Mapping[str, Tensor], present: Mapping[str, Tensor], *, into: Mapping[str, Tensor]) -> None:
    """Write the vectors, standardised, into tensors of the type and on the device that heads compute in."""
    standardise = None if task.standardise is None else task.standardise.part(read)
    for start in range(0, len(next(iter(read.values()))), MADE_ROWS):
        block = slice(start, start + MADE_ROWS)
        block_vectors = {name: vectors[block] for name, vectors in read.items()}
        if standardise is not None:
            block_vectors = standardise(block_vectors, {name: present[name][block] for name in block_vectors})
        for name, vectors in block_vectors.items():
            into[name][block] = vectors
