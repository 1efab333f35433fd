"""Where the rows of a task come from while heads are trained: from memory, or from the disk a window at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor

from heads.device import to_device
from heads.training.job import Task

__all__ = ["DiskSource", "MemorySource", "Source", "View", "open_source"]

READ_ROWS = 8192  # rows that are read from the disk at once
MADE_ROWS = 512  # rows that are standardised at once: they stay in the processor's cache until they are done


class View(NamedTuple):
    """Some rows at hand: matrices that hold them, and where in these each row stands.

    Shape:
        inputs: {modality: (n, D)}, standardised, in the type that heads compute in
        present: {modality: (n,) bool}
        targets: (n,) int64
        rows: any shape, int64, positions among the n
        products: of the same shape, int64 and on the CPU, the task's rows themselves
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    targets: Tensor
    rows: Tensor
    products: Tensor


class Source(Protocol):
    """What gives a task's rows in the type and on the device of `like`, (0,)."""

    like: Tensor

    def view(self, rows: Tensor, modalities: Iterable[str]) -> View:
        """Return some rows, at hand, with the vectors of the modalities."""


def open_source(task: Task, like: Tensor) -> Source:
    """Return the source of a task's rows."""
    return DiskSource(task, like) if task.on_disk else MemorySource(task, like)


class MemorySource:
    """All rows, standardised once and kept."""

    def __init__(self, task: Task, like: Tensor) -> None:
        self.like = like
        self._inputs = {name: like.new_empty(tuple(matrix.shape)) for name, matrix in task.inputs.items()}
        _make(task, task.inputs, task.present, into=self._inputs)
        self._present = {name: to_device(mask, like.device) for name, mask in task.present.items()}
        self._targets = to_device(task.targets, like.device)

    def view(self, rows: Tensor, modalities: Iterable[str]) -> View:
        """Return the rows; what holds them is all there is."""
        names = sorted(modalities)
        inputs, present = ({name: every[name] for name in names} for every in (self._inputs, self._present))
        return View(inputs, present, self._targets, to_device(rows, self.like.device), rows.cpu())


class DiskSource:
    """Rows that are read and standardised when they are asked for."""

    def __init__(self, task: Task, like: Tensor) -> None:
        self.like = like
        self._task = task

    def view(self, rows: Tensor, modalities: Iterable[str]) -> View:
        """Return the rows; what holds them is made of them alone."""
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
        return View(inputs, present, to_device(task.targets[distinct], device), to_device(places, device), rows.cpu())


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
