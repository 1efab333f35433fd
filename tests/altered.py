"""Damaged caches: changes to a file, and all that a reader can ask of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from cache import Cache
from cache.format.writer import content_sha256, dataset_digest

Change = Callable[[h5py.File], object]


def changed(path: Path, change: Change, *, digests_fit: bool = False) -> Path:
    """Make the change in the file, write digests that fit it if asked to, and return the path."""
    with h5py.File(path, "r+") as file:
        change(file)
        if digests_fit:
            _fit_digests(file)
    return path


def put(where: str, value: object) -> Change:
    """Return a change that puts a dataset where something else may be."""

    def change(file: h5py.File) -> None:
        if where in file:
            del file[where]
        file.create_dataset(where, data=value)

    return change


def group(where: str) -> Change:
    """Return a change that puts an empty group where something else may be."""

    def change(file: h5py.File) -> None:
        if where in file:
            del file[where]
        file.create_group(where)

    return change


def drop(where: str) -> Change:
    """Return a change that removes a dataset or a group."""

    def change(file: h5py.File) -> None:
        del file[where]

    return change


def combined(*changes: Change) -> Change:
    """Return a change that makes several, one after the other."""

    def change(file: h5py.File) -> None:
        for step in changes:
            step(file)

    return change


def datasets_of(path: Path) -> list[str]:
    """Return the names of all datasets that have a digest."""
    names: list[str] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return [name for name in names if name != "digests"]


def read_all(path: Path) -> list:
    """Return all that a reader can ask of a cache, ready to be compared."""
    with Cache(path) as cache:
        answers: list = [len(cache), cache.ids(), cache.content_sha256, cache.digests]
        answers += [(name, cache.column(name)) for name in cache.columns()]
        for modality in cache.modalities:
            answers += [modality, cache.statuses(modality), cache.rows(modality).tolist()]
            answers += [cache.keys(modality).tolist(), cache.content_statuses(modality).tolist()]
            for encoder in cache.encoders(modality):
                answers += [encoder, cache.spec(modality, encoder), cache.dimension(modality, encoder)]
                answers += [cache.encoded(modality, encoder).tolist(), cache.present(modality, encoder).tolist()]
                answers += [cache.vectors(modality, encoder).tobytes(), cache.matrix(modality, encoder).tobytes()]
                if cache.has_tokens(modality, encoder):
                    tokens = cache.tokens(modality, encoder)
                    answers += [tokens.offsets.tolist(), tokens.values.tobytes()]
    return answers


def _fit_digests(file: h5py.File) -> None:
    """Write the digests of what is in the file, as somebody would who wants it to pass for whole."""
    digests: dict[str, str] = {}

    def add(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and name != "digests":
            digests[name] = dataset_digest(item)

    file.visititems(add)
    put("digests", np.bytes_(json.dumps(digests, sort_keys=True, indent=1).encode()))(file)
    kind = type(file.attrs["content_sha256"])
    file.attrs["content_sha256"] = kind(content_sha256(digests))
