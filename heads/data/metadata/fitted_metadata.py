"""Columns of a catalogue as vectors: an encoding that is fitted on training rows, and wholly described by its spec.

The spec's fields are ``encoding``, its ``version``, ``columns`` and ``kept``. Each column has its ``name`` and its
``kind``: ``categorical`` and ``boolean`` columns their ``categories``, ``hashed`` ones their ``width``, and those made
of numbers (``number``, ``date``, ``counts``) the ``low``, ``median``, ``high`` and ``scale`` of each of their
``numbers``; dates may have the ``order`` of day and month where the year is last. ``kept`` names the dimensions that
stay of all that the columns come to. Nothing else is needed to encode another catalogue in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from cache.columns.column_types import date_order, guess_kind, is_missing, parse_booleans, parse_categories
from cache.keys import EncoderSpec
from cache.system.stray_bytes import shown
from heads.data.metadata.column_encoders import N_NUMBERS, ColumnEncoding, NumberScale, numbers_of
from heads.errors import HeadError

__all__ = ["ENCODER", "METADATA", "FittedMetadata", "fit_metadata"]

METADATA = "metadata"  # the modality's name
ENCODER = "columns"  # what stands for an encoder's name
VERSION = 2  # raised when the same spec would come to other vectors; of version 1 prices are no numbers, but missing
MOST_CATEGORIES = 100  # a column with more is hashed
HASH_WIDTH = 256
LEAST_SHARE = 0.001  # of the training rows that must differ from the commonest value of a dimension, or it is left out
BLOCK_ROWS = 65_536  # encoded at once


@dataclass(frozen=True)
class FittedMetadata:
    """An encoding of columns that is fitted; `spec` is all of it.

    Shape:
        kept: (M,) of the dimensions that the columns come to, rising
    """

    columns: tuple[ColumnEncoding, ...]
    kept: tuple[int, ...]
    version: int = field(default_factory=lambda: VERSION)

    @property
    def dim(self) -> int:
        """M."""
        return len(self.kept)

    @property
    def names(self) -> list[str]:
        """The columns that are looked at, each once."""
        return list(dict.fromkeys(column.name for column in self.columns))

    @property
    def spec(self) -> EncoderSpec:
        """Everything that changes a product's vector but its cells."""
        columns = [column.to_dict() for column in self.columns]
        fields = {"encoding": ENCODER, "version": self.version, "columns": columns, "kept": list(self.kept)}
        return EncoderSpec(METADATA, fields)

    @classmethod
    def from_spec(cls, spec: EncoderSpec) -> FittedMetadata:
        """Return the encoding that a spec describes.

        Raises:
            HeadError: the spec is of another version, or describes none.
        """
        version = spec.fields.get("version")
        if type(version) is not int or not 1 <= version <= VERSION:
            raise HeadError(
                f"Expected the head's metadata to be of a version up to {VERSION}, got {version!r}: update embed-once, "
                "or train again."
            )
        try:
            columns = tuple(map(ColumnEncoding.from_dict, spec.fields["columns"]))
            fitted = cls(columns, tuple(map(int, spec.fields["kept"])), version)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise HeadError(
                f"Expected the head's metadata to say how its columns are encoded, but: {error!r}"
            ) from error
        rising = all(low < high for low, high in pairwise((-1, *fitted.kept, sum(column.dim for column in columns))))
        if not (fitted.kept and rising and all(column.is_sound for column in columns)):
            raise HeadError(
                "Expected the head's metadata to say how its columns are encoded, but that is not sound: "
                f"{len(columns)} columns, {fitted.dim} dimensions. Train the head again."
            )
        return fitted

    def present(self, cells: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Return which products have a cell that says something, (N,) bool."""
        return np.logical_or.reduce(
            [[not is_missing(cell, column.kind) for cell in cells[column.name]] for column in self.columns]
        )

    def notes_on_unknown_cells(self, cells: Mapping[str, Sequence[str]]) -> list[str]:
        """Return a note on each column most of whose filled cells are none such as those of the training."""
        notes = []
        for column in self.columns:
            filled = [cell for cell in cells[column.name] if not is_missing(cell, column.kind)]
            unknown = [filled[position] for position in np.flatnonzero(~column.knows(filled, version=self.version))]
            if 2 * len(unknown) > len(filled):
                fault = f"no {column.kind}" if column.numbers else "of no category that the training had"
                examples = list(dict.fromkeys(unknown))
                some = f"{', '.join(map(shown, examples[:3]))}{', …' if len(examples) > 3 else ''}"
                notes.append(
                    f"{len(unknown):,} of {len(filled):,} cells of {column.name} are {fault} ({some}): they say "
                    "nothing to the heads. Is it the same column, written in the same way?"
                )
        return notes

    def transform(self, cells: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Return the vectors of N products, (N, M) float32; cells that were never seen are no error."""
        series = [column.series(cells[column.name], version=self.version) for column in self.columns]
        vectors = np.empty((len(series[0][0]), self.dim), dtype=np.float32)
        for start in range(0, len(vectors), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            encoded = [
                column.encode([values[block] for values in parsed])
                for column, parsed in zip(self.columns, series, strict=True)
            ]
            vectors[block] = np.concatenate(encoded, axis=1)[:, self.kept]
        return vectors


def fit_metadata(
    cells: Mapping[str, Sequence[str]], rows: np.ndarray, *, columns: Sequence[str], counts: Sequence[str] = ()
) -> FittedMetadata:
    """Return the encoding of columns, and of the word and character counts of others, fitted on some rows alone.

    A dimension that hardly varies on these rows is left out: standardised, a product that has what one in ten thousand
    has would be an outlier. Such a category is encoded as one that was never seen.

    Shape:
        cells: {column: N cells}
        rows: (n,) int64

    Raises:
        HeadError: a column has no cell that says something on these rows, or none of them varies.
    """
    training_cells = {name: [cells[name][row] for row in rows.tolist()] for name in (*columns, *counts)}
    fitted = (
        *(_fit_column(name, training_cells[name]) for name in columns),
        *(_fit_numbers(name, "counts", training_cells[name]) for name in counts),
    )
    unreduced = FittedMetadata(fitted, tuple(range(sum(column.dim for column in fitted))))
    encoded = unreduced.transform(training_cells)[unreduced.present(training_cells)]
    most_rows = len(encoded) - max(1, LEAST_SHARE * len(encoded))  # rows that may have the commonest value
    kept_dims = [number for number, values in enumerate(encoded.T) if _n_middle(values) <= most_rows]
    if not kept_dims:
        raise HeadError(
            "Expected the metadata's columns to say something, but none of "
            f"{', '.join(dict.fromkeys((*columns, *counts)))} varies among the training rows. Name others with "
            "--metadata-columns."
        )
    return FittedMetadata(fitted, tuple(kept_dims))


def _fit_column(name: str, cells: Sequence[str]) -> ColumnEncoding:
    kind = guess_kind(cells)
    if kind is None:
        raise _empty(name)
    if kind in N_NUMBERS:
        return _fit_numbers(name, kind, cells)
    categories = sorted(set(parse_booleans(cells) if kind == "boolean" else parse_categories(cells)))
    if len(categories) > MOST_CATEGORIES:
        return ColumnEncoding(name, "hashed", width=HASH_WIDTH)
    return ColumnEncoding(name, kind, categories=tuple(categories))


def _fit_numbers(name: str, kind: str, cells: Sequence[str]) -> ColumnEncoding:
    order = (date_order(cells) or "") if kind == "date" else ""
    values = numbers_of(kind, cells, order=order)  # (n, numbers)
    values = values[~np.isnan(values).any(axis=1)]
    if not len(values):
        raise _empty(name)
    return ColumnEncoding(name, kind, numbers=tuple(map(NumberScale.of, values.T)), order=order)


def _n_middle(values: np.ndarray) -> int:
    """Return how many values are the middle one, (n,): where one value has more than half of the rows, it is that."""
    middle = len(values) // 2
    return int((values == np.partition(values, middle)[middle]).sum())


def _empty(name: str) -> HeadError:
    return HeadError(
        f"Expected a column of metadata to have cells that say something, but {name} has none among the training "
        "rows. Leave it out of --metadata-columns."
    )
