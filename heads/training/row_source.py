"""Where the rows of a task come from while heads are trained: from memory, or from the disk a window at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from heads.device import to_device
from heads.training.job import Task

__all__ = ["DiskSource", "MemorySource", "Source", "View", "open_source"]

READ_ROWS = 8192  # rows that are read from the disk at once
NONE: Mapping[str, Tensor] = {}
MADE_ROWS = 512  # rows that are standardised at once: they stay in the processor's cache until they are done


class View(NamedTuple):
    """Some rows at hand: matrices that hold them, and where in these each row stands.

    Shape:
        inputs: {modality: (n, D)}, standardised, in the type that heads compute in
        present: {modality: (n,) bool}
        targets: (n,) int64
        rows: any shape, int64, positions among the n
        places: {modality: the shape of rows}, where in its matrix a row's vector stands: further on, of other views
        products: of the same shape, int64 and on the CPU, the task's rows themselves
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor
    rows: Tensor
    products: Tensor
    places: Mapping[str, Tensor]


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
        several = {name: (matrix, *task.augmented.get(name, ())) for name, matrix in task.inputs.items()}
        self._views = {name: like.new_empty(len(views), *views[0].shape) for name, views in several.items()}
        self._inputs = {name: views[0] for name, views in self._views.items()}  # (N, D) each
        self._every = {name: views.flatten(0, 1) for name, views in self._views.items()}  # (V * N, D) each
        _make(task, task.inputs, task.present, into=self._inputs)
        for name, augmented in task.augmented.items():
            for number, matrix in enumerate(augmented, start=1):
                _make(task, {name: matrix}, task.present, into={name: self._views[name][number]})
        self._present = {name: to_device(mask, like.device) for name, mask in task.present.items()}
        self._targets = to_device(task.targets, like.device)

    def view(self, rows: Tensor, modalities: Iterable[str], versions: Mapping[str, Tensor] = NONE) -> View:
        """Return the rows; what holds them is all there is."""
        names, device = sorted(modalities), self.like.device
        inputs = {name: (self._every if name in versions else self._inputs)[name] for name in names}
        places = dict.fromkeys(names, at_hand := to_device(rows, device))
        for name, numbers in versions.items():
            places[name] = to_device(rows + len(self._targets) * numbers, device)
        present = {name: self._present[name] for name in names}
        return View(inputs, present, self._targets, at_hand, rows.cpu(), places)


class DiskSource:
    """Rows that are read and standardised when they are asked for."""

    def __init__(self, task: Task, like: Tensor) -> None:
        self.like = like
        self._task = task

    def view(self, rows: Tensor, modalities: Iterable[str], versions: Mapping[str, Tensor] = NONE) -> View:
        """Return the rows; what holds them is made of them alone."""
        if versions:
            raise AssertionError("views are kept in memory")
        task, names = self._task, sorted(modalities)
        distinct, places = rows.cpu().unique(return_inverse=True)
        inputs = {name: self.like.new_empty(len(distinct), task.inputs[name].shape[1]) for name in names}
        present = {name: task.present[name][distinct] for name in names}
        for start in range(0, len(distinct), READ_ROWS):
            block = slice(start, start + READ_ROWS)
            read = {name: task.inputs[name][distinct[block]] for name in names}
            some_inputs, some_present = ({name: all_[name][block] for name in names} for all_ in (inputs, present))
            _make(task, read, some_present, into=some_inputs)
        device = self.like.device
        present = {name: to_device(mask, device) for name, mask in present.items()}
        targets, places = to_device(task.targets[distinct], device), to_device(places, device)
        return View(inputs, present, targets, places, rows.cpu(), dict.fromkeys(names, places))


def _make(task: Task, read: Mapping[str, Tensor], present: Mapping[str, Tensor], *, into: Mapping[str, Tensor]) -> None:
    """Write the vectors, standardised, into tensors of the type and on the device that heads compute in."""
    standardise = None if task.standardise is None else task.standardise.part(read)
    for start in range(0, len(next(iter(read.values()))), MADE_ROWS):
        block = slice(start, start + MADE_ROWS)
        some = {name: vectors[block] for name, vectors in read.items()}
        if standardise is not None:
            some = standardise(some, {name: present[name][block] for name in some})
        for name, vectors in some.items():
            into[name][block] = vectors
