"""What all heads of a run share: vectors, labels, the split, and what was left out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from cache import Cache
from heads.data import Vectors, load_vectors, share_content
from heads.errors import HeadError, LabelError
from heads.labels import Labels, find_label_column, make_labels
from heads.settings import FUSIONS, TrainSettings
from heads.splits import Split, split_by_column, split_rows, straddlers

__all__ = ["Problem", "pose"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class Problem:
    """Everything that all heads of a run share."""

    ids: list[str]
    vectors: Vectors
    labels: Labels
    groups: np.ndarray
    split: Split
    fusions: tuple[str, ...]
    notes: list[str]
    content_sha256: str

    def ids_of(self, rows: np.ndarray) -> list[str]:
        """Return the ids of some rows."""
        return [self.ids[row] for row in rows]


def pose(cache: Cache, settings: TrainSettings) -> Problem:
    """Return the problem that the settings pose on a cache.

    Raises:
        MissingEntryError: the cache lacks a modality or an encoder.
        LabelError, SplitError, HeadError: the labels, the split or the fusions cannot be had.
    """
    column = find_label_column(cache, settings.label)
    modalities = settings.modalities or tuple(cache.modalities)
    for modality, encoder in settings.encoders.items():
        if modality not in modalities:
            raise HeadError(
                f"--encoder must name one of the modalities {', '.join(modalities)}, however got {modality}={encoder}."
            )
    vectors = load_vectors(cache, encoders={name: settings.encoders.get(name) for name in modalities})
    fusions = settings.fusions
    if len(vectors.dims) < 2:
        only = next(iter(vectors.dims))
        if fusions not in ((), FUSIONS):  # all of them means all that there can be
            raise HeadError(
                f"The fusion {fusions[0]} needs two modalities, however there is {only} alone. "
                f"Train it with --fusion {only}, or extract another modality."
            )
        fusions = ()
    labels = make_labels(column, cache.column(column), usable=vectors.some_present(), min_rows=settings.min_rows)
    groups = share_content([cache.rows(modality) for modality in cache.modalities])
    generator = np.random.default_rng(settings.seed)
    notes = list(labels.notes)
    if settings.split_column is None:
        split = split_rows(
            labels.codes,
            groups,
            test_share=settings.test_share,
            validation_share=settings.validation_share,
            generator=generator,
        )
    else:
        if settings.split_column not in cache.columns():
            raise LabelError(
                f"--split-column must be one of the catalogue's columns ({', '.join(cache.columns())}), however got "
                f"{settings.split_column!r}."
            )
        split = split_by_column(
            settings.split_column,
            cache.column(settings.split_column),
            labels.codes,
            groups,
            validation_share=settings.validation_share,
            generator=generator,
        )
        if n_straddling := straddlers(split, groups):
            notes.append(
                f"{n_straddling} of {len(split.test)} test rows share a picture or a text with training rows: "
                f"{settings.split_column} lets duplicates straddle, and the scores are too good."
            )
    untested = len(labels.classes) - len(np.unique(labels.codes[split.test]))
    if untested:
        notes.append(f"{untested} of {len(labels.classes)} classes have no test row: theirs share pictures or texts.")
    for note in notes:
        log.info(note)
    return Problem(
        ids=cache.ids(),
        vectors=vectors,
        labels=labels,
        groups=groups,
        split=split,
        fusions=fusions,
        notes=notes,
        content_sha256=cache.content_sha256,
    )
