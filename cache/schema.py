"""Whether a file has the tables of the format, each of its type and shape, and no others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import h5py

from cache.errors import DamagedCacheError, NotACacheError
from cache.keys import ContentSpec, EncoderSpec

__all__ = ["check_schema"]


Items = Mapping[str, h5py.Group | h5py.Dataset]


def check_schema(items: Items) -> None:
    """Check all that a cache has, by its path, against `cache.layout`; no values are read, but for the specs.

    Raises:
        DamagedCacheError: a table is missing, too many, or of another type or shape.
    """
    known: set[str] = set()

    def table(path: str, kind: str, *shape: int | None) -> tuple[int, ...]:
        dataset = items.get(path)
        if not isinstance(dataset, h5py.Dataset):
            raise DamagedCacheError(f"the table {path} is missing")
        if (
            kind not in (dataset.dtype.kind, dataset.dtype.str.lstrip("<|"))
            or len(dataset.shape) != len(shape)
            or any(wanted not in (None, size) for wanted, size in zip(shape, dataset.shape, strict=True))
        ):
            wish = ", ".join("any" if n is None else str(n) for n in shape)
            raise DamagedCacheError(
                f"expected the table {path} to be {kind} of shape ({wish}), got {dataset.dtype} of {dataset.shape}"
            )
        known.add(path)
        return dataset.shape

    def strings(path: str, n_cells: int | None) -> int:
        table(f"{path}/utf8", "u1", None)
        n_offsets = table(f"{path}/offset", "i8", None if n_cells is None else n_cells + 1)[0]
        if n_offsets < 1:
            raise DamagedCacheError(f"expected the table {path}/offset to have at least one row, got none")
        return n_offsets - 1

    table("digests", "S")
    n_products = strings("catalogue/id", None)
    n_columns = strings("catalogue/columns", None)
    columns = _members(items, "catalogue/column") if n_columns else []
    if len(columns) != n_columns:
        raise DamagedCacheError(f"the catalogue names {n_columns} columns and has {len(columns)}")
    for name in columns:
        strings(f"catalogue/column/{name}", n_products)
    modalities = [name for name in items if "/" not in name and name not in ("catalogue", "digests")]
    for modality in modalities:
        n_contents = table(f"{modality}/key", "S64", None)[0]
        table(f"{modality}/status", "S16", n_contents)
        for encoder in _members(items, modality):
            if encoder not in ("key", "status"):
                _check_encoder(items, table, modality, encoder, n_contents)
        if f"catalogue/{modality}" in items:
            table(f"catalogue/{modality}/row", "i8", n_products)
            table(f"catalogue/{modality}/status", "S16", n_products)
            if f"catalogue/{modality}/spec" in items:
                table(f"catalogue/{modality}/spec", "S")
                _check_spec(items, f"catalogue/{modality}/spec", ContentSpec, modality)
            if f"catalogue/{modality}/sample_key" in items:
                strings(f"catalogue/{modality}/sample", table(f"catalogue/{modality}/sample_key", "S64", None)[0])
    _check_nothing_else(items, known)


def _check_encoder(
    items: Items, table: Callable[..., tuple[int, ...]], modality: str, encoder: str, n_contents: int
) -> None:
    path = f"{modality}/{encoder}"
    table(f"{path}/vector", "f4", n_contents, None)
    table(f"{path}/encoded", "b", n_contents)
    table(f"{path}/spec", "S")
    if f"{path}/token" in items or f"{path}/token_offset" in items:
        n_tokens, token_dim = table(f"{path}/token", "f2", None, None)
        if n_tokens and not token_dim:  # which take no bytes whatever their number
            raise DamagedCacheError(f"the table {path}/token has {n_tokens} tokens of no dimensions")
        table(f"{path}/token_offset", "i8", n_contents + 1)
    _check_spec(items, f"{path}/spec", EncoderSpec, modality)


def _check_spec(items: Items, path: str, kind: type[EncoderSpec | ContentSpec], modality: str) -> None:
    try:
        spec = kind.from_json(bytes(items[path][()]).decode(errors="replace"))
    except NotACacheError as error:
        raise DamagedCacheError(f"{path}: {error}") from error
    if spec.modality != modality:
        raise DamagedCacheError(f"{path} is that of another modality")


def _members(items: Items, path: str) -> list[str]:
    group = items.get(path)
    if not isinstance(group, h5py.Group):
        raise DamagedCacheError(f"the group {path} is missing")
    return list(group)


def _check_nothing_else(items: Items, known: set[str]) -> None:
    groups = {path.rpartition("/")[0] for path in known}
    groups |= {path.rpartition("/")[0] for path in groups} | {"catalogue/column"}

    for path, item in items.items():
        if path not in (known if isinstance(item, h5py.Dataset) else groups):
            raise DamagedCacheError(f"{path} is no part of the format")
