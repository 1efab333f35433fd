"""Where the rows of a task come from while heads are trained: from memory, or from the disk a window at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from heads.job import Task
from heads.standardise import Standardise

__all__ = ["DiskSource", "MemorySource", "Source", "View", "open_source"]

MADE_ROWS = 8192  # rows that are standardised at once, before they take the shorter type


class View(NamedTuple):
    """Some rows at hand: matrices that hold them, and where in these each row stands.

    Shape:
        inputs: {modality: (n, D)}, standardised, in the type that heads compute in
        present: {modality: (n,) bool}
        codes: (n,) int64
        rows: any shape, int64, positions among the n
        products: of the same shape, int64 and on the CPU, the task's rows themselves
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    codes: Tensor
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
        n_rows = len(task.codes)
        self._inputs = _made(task, task.inputs, torch.arange(n_rows), like)
        self._present = {name: mask.to(like.device) for name, mask in task.present.items()}
        self._codes = task.codes.to(like.device)

    def view(self, rows: Tensor, modalities: Iterable[str]) -> View:
        """Return the rows; what holds them is all there is."""
        names = sorted(modalities)
        inputs, present = ({name: own[name] for name in names} for own in (self._inputs, self._present))
        return View(inputs, present, self._codes, rows.to(self.like.device), rows.cpu())


class DiskSource:
    """Rows that are read and standardised when they are asked for."""

    def __init__(self, task: Task, like: Tensor) -> None:
        self.like = like
        self._task = task

    def view(self, rows: Tensor, modalities: Iterable[str]) -> View:
        """Return the rows; what holds them is made of them alone."""
        task, names = self._task, sorted(modalities)
        own, places = rows.cpu().unique(return_inverse=True)
        inputs = _made(task, {name: task.inputs[name] for name in names}, own, self.like)
        present = {name: task.present[name][own].to(self.like.device) for name in names}
        return View(inputs, present, task.codes[own].to(self.like.device), places.to(self.like.device), rows.cpu())


def _made(task: Task, matrices: Mapping[str, Any], rows: Tensor, like: Tensor) -> dict[str, Tensor]:
    """Return some rows standardised, in the type and on the device of `like`; a block at a time."""
    standardise = _standardise_of(task, matrices)
    made = {name: like.new_empty(len(rows), matrix.shape[1]) for name, matrix in matrices.items()}
    for block in torch.arange(len(rows)).split(MADE_ROWS):
        read = {name: matrix[rows[block]] for name, matrix in matrices.items()}
        if standardise is not None:
            read = standardise(read, {name: task.present[name][rows[block]] for name in matrices})
        for name, vectors in read.items():
            made[name][block] = vectors.to(like)
    return made


def _standardise_of(task: Task, modalities: Iterable[str]) -> Standardise | None:
    return None if task.standardise is None else task.standardise.part(modalities)
