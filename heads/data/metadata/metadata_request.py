"""The columns that are requested as a modality, from the settings to vectors fitted on each fold's training rows."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from cache import Cache, EncoderSpec
from heads.data.labels import Labels
from heads.data.metadata.fitted_metadata import ENCODER, METADATA, FittedMetadata, fit_metadata
from heads.data.metadata.metadata_columns import CONSTANT, EMPTY, FOLLOWS, GIVES_AWAY, faults_by_column, near_leaks
from heads.data.splitting.splits import Split, says_split
from heads.data.vectors import Vectors
from heads.errors import HeadError, SettingError
from heads.settings import ProblemSettings

__all__ = ["AUTO", "MetadataRequest", "is_metadata", "metadata_of", "metadata_vectors"]

log = logging.getLogger("embed_once")

AUTO = ("auto",)
IS_LABEL = "the label itself"
IS_SPLIT = "it says which rows are for training"


class MetadataRequest:
    """The columns that the settings ask for, read from the cache.

    Raises:
        SettingError: a column is not in the catalogue or is named twice, or the modality is taken or left out.
    """

    def __init__(self, cache: Cache, settings: ProblemSettings, *, label: str) -> None:
        self._label = label
        self._allow_leaks = settings.allow_leaks
        names_in_cache = cache.columns()
        requested = settings.metadata_columns or ()
        self._is_auto = requested in (AUTO, *AUTO)  # a plain word from Python means the same
        for option, names in (("columns", () if self._is_auto else requested), ("counts", settings.metadata_counts)):
            _check_names(f"--metadata-{option}", names, names_in_cache)
        if METADATA in cache.content_modalities:
            raise SettingError(
                f"--metadata-columns make the modality {METADATA}, but {cache.path} has vectors of that name. Leave "
                "the columns out."
            )
        if settings.modalities is not None and METADATA not in settings.modalities:
            raise SettingError(
                f"--metadata-columns make the modality {METADATA}, but --modalities is "
                f"{','.join(settings.modalities)}. Add {METADATA}, or leave the columns out."
            )
        # Their order is the catalogue's, so that the same columns are the same encoding.
        self._columns = [name for name in names_in_cache if self._is_auto or name in requested]
        self._counts = [name for name in names_in_cache if name in settings.metadata_counts]
        self._cells = {name: cache.column(name) for name in dict.fromkeys((*self._columns, *self._counts))}
        self._unasked: dict[str, str] = {}  # column -> why auto does not take it, whatever it tells
        if self._is_auto:
            split_columns = (
                name for name in self._columns if name == settings.split_column or says_split(self._cells[name])
            )
            self._unasked = dict.fromkeys(split_columns, IS_SPLIT) | {label: IS_LABEL}
        informative = self._cells.keys() - self._unasked.keys()
        filled = [[bool(cell.strip()) for cell in self._cells[name]] for name in informative]
        self.filled = np.logical_or.reduce(filled) if filled else np.zeros(len(cache), dtype=bool)  # (N,)

    @staticmethod
    def of(cache: Cache, settings: ProblemSettings, *, label: str) -> MetadataRequest | None:
        """Return the request that the settings make, or None where they make none."""
        if settings.metadata_columns is None and not settings.metadata_counts:
            return None
        return MetadataRequest(cache, settings, label=label)

    def vectors(self, labels: Labels, splits: Sequence[Split]) -> tuple[list[Vectors], list[str]]:
        """Return the vectors as each fold's training rows make them, and notes on the columns.

        All folds have the same columns: those that nothing speaks against in any of them.

        Raises:
            HeadError: a requested column gives the label away or says nothing; or auto finds none.
        """
        rows = [split.train for split in splits]
        names = [[labels.classes[target] for target in labels.targets[train].tolist()] for train in rows]
        faults = self._faults(self._columns, names, rows)
        count_faults = self._faults(self._counts, names, rows, are_counted=True)
        columns, notes = self._usable_columns(faults) if self._is_auto else (self._columns, [])
        if not self._is_auto:
            notes += self._check("--metadata-columns", faults)
        notes += self._check("--metadata-counts", count_faults)
        notes += self._near_leak_notes([name for name in columns if name not in faults], names[0], rows[0])
        encodings = [fit_metadata(self._cells, train, columns=columns, counts=self._counts) for train in rows]
        vectors = [metadata_vectors(self._cells, fitted) for fitted in encodings]
        return vectors, [*notes, *self._coverage_notes(encodings[0], vectors[0])]

    def _faults(
        self,
        columns: Sequence[str],
        labels: Sequence[list[str]],
        rows: Sequence[np.ndarray],
        *,
        are_counted: bool = False,
    ) -> dict[str, str]:
        """Return what speaks against some of the columns on the training rows (`faults_by_column`)."""
        cells = {name: self._cells[name] for name in columns}
        faults = faults_by_column(cells, labels, rows, are_counted=are_counted)
        return faults | ({self._label: GIVES_AWAY} if self._label in columns else {})

    def _usable_columns(self, faults: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Return the columns that nothing speaks against, and a note for each thing that speaks against others."""
        usable = [name for name in self._columns if name not in {*faults, *self._unasked}]
        by_fault = defaultdict(list)
        for name in self._columns:
            if fault := self._unasked.get(name) or faults.get(name):
                by_fault[fault.format(label=self._label)].append(name)
        notes = [f"metadata leaves out {', '.join(names)}: {fault}." for fault, names in by_fault.items()]
        if not usable and not self._counts:
            raise HeadError(
                f"Expected --metadata-columns auto to find a column, but: {' '.join(notes)} Name some, or leave it out."
            )
        return usable, notes

    def _check(self, option: str, faults: Mapping[str, str]) -> list[str]:
        """Return notes on columns that were requested by name, and that something speaks against.

        Raises:
            HeadError: a column gives the label away, is empty, or constant.
        """
        notes = []
        for name, fault in faults.items():
            if fault == GIVES_AWAY and not self._allow_leaks:
                raise HeadError(
                    f"Expected {option} to leave the answer open, but {name} gives {self._label} away: in the "
                    "training rows one says the other. Leave it out; or add --allow-leaks if it is known of "
                    f"products whose {self._label} is not."
                )
            if fault in (EMPTY, CONSTANT):
                raise HeadError(
                    f"Expected {option} to name columns that say something, but {name} does not: {fault}. Leave it out."
                )
            if fault in (GIVES_AWAY, FOLLOWS):
                question = f"Is it known of products whose {self._label} is not?"
                notes.append(f"metadata has {name}: {fault.format(label=self._label)}. {question}")
        return notes

    def _near_leak_notes(self, columns: Sequence[str], labels: Sequence[str], rows: np.ndarray) -> list[str]:
        """Return a note on each column, or two together, that tell most rows' label and are no leak by the rule."""
        cells = {name: self._cells[name] for name in columns}
        return [leak.sentence(self._label) for leak in near_leaks(cells, labels, rows)]

    def _coverage_notes(self, fitted: FittedMetadata, vectors: Vectors) -> list[str]:
        """Return a note on what the columns were taken for, and one on products that have none."""
        shown = ", ".join(
            f"{column.name} ({column.kind}{f' {len(column.categories)}' if column.categories else ''})"
            for column in fitted.columns
        )
        notes = [f"metadata is made of {shown}: {fitted.dim} dimension{'s' * (fitted.dim != 1)}."]
        present = vectors.present[METADATA]
        if not present.all():
            notes.append(f"{int((~present).sum())} of {len(present)} rows have no metadata: all these cells are empty.")
        return notes


def is_metadata(spec: EncoderSpec) -> bool:
    """Return whether vectors of this spec are made of columns."""
    return spec.modality == METADATA and spec.fields.get("encoding") == ENCODER


def metadata_vectors(cells: Mapping[str, Sequence[str]], fitted: FittedMetadata) -> Vectors:
    """Return the vectors of N products, from their cells."""
    present = fitted.present(cells)
    matrix = fitted.transform(cells)
    matrix[~present] = 0
    return Vectors(
        encoders={METADATA: ENCODER},
        specs={METADATA: fitted.spec},
        inputs={METADATA: torch.from_numpy(matrix)},
        present={METADATA: torch.from_numpy(present)},
    )


def metadata_of(cache: Cache, fitted: FittedMetadata, *, head: str, may_lack_columns: bool = False) -> Vectors:
    """Return the vectors of a cache's products, from its columns; where it may lack some, their cells are empty.

    A warning is logged of a column most of whose cells are unlike those of the training.

    Raises:
        HeadError: the cache lacks a column that the head learned from.
    """
    columns = cache.columns()
    lacking = [name for name in fitted.names if name not in columns]
    if lacking and not may_lack_columns:
        raise HeadError(
            f"The head {head!r} needs the columns {', '.join(fitted.names)}, but {cache.path} has no "
            f"{', '.join(lacking)}. Extract a catalogue with these columns; the pictures and texts it shares are not "
            "encoded again."
        )
    cells = {name: [""] * len(cache) if name in lacking else cache.column(name) for name in fitted.names}
    for note in fitted.notes_on_unknown_cells(cells):
        log.warning(note)
    return metadata_vectors(cells, fitted)


def _check_names(option: str, names: Sequence[str], columns: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in columns]:
        raise SettingError(
            f"{option}: expected some of the catalogue's columns ({', '.join(columns) or 'it has none'}), got "
            f"{unknown[0]!r}."
        )
    if twice := [name for name in names if list(names).count(name) > 1]:
        raise SettingError(f"Expected {option} to name each column once, but {twice[0]} is there twice.")
