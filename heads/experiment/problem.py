"""What an experiment is about: the vectors of every encoder, the labels, the groups of duplicates, the folds."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from cache import Cache
from cache.columns.column_names import no_such_column
from cache.system.memory_budget import memory_bytes
from heads.data.class_names import find_class_names
from heads.data.corrections import Corrections, read_corrections
from heads.data.encoder_sets import dimension, split_name
from heads.data.labels import Labels, cells_of, choice_notes, find_label_column, make_labels
from heads.data.metadata.fitted_metadata import ENCODER, METADATA
from heads.data.metadata.metadata_request import MetadataRequest
from heads.data.modalities import choose_modalities
from heads.data.splitting.folds import split_folds
from heads.data.splitting.groups import Placeholder, find_groups
from heads.data.splitting.splits import Split, split_by_column, split_rows
from heads.data.splitting.unlabelled import find_unlabelled
from heads.data.vectors import Vectors, load_vectors
from heads.errors import HeadError, LabelError
from heads.experiment.chosen_encoders import Encoder, choose_encoders
from heads.experiment.few_rows import few_rows_notes
from heads.experiment.problem_notes import absence_notes, coverage_notes, row_notes, token_notes
from heads.experiment.pseudo_labels import PseudoLabels
from heads.head_types import HEAD_TYPES, fusion_names, head_type, resolve_names
from heads.modules.plugin import head_name, is_plugin
from heads.settings import ProblemSettings
from heads.training.direct import check_in_memory

__all__ = ["Encoder", "Problem", "pose"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class Problem:
    """Everything that the jobs of an experiment share."""

    ids: list[str]
    vectors: Mapping[Encoder, Sequence[Vectors]]  # of one modality each: the same in all folds, or one for each
    labels: Labels
    groups: np.ndarray  # (N,) int64: rows of one group stand on one side of every split
    is_placeholder: np.ndarray  # (N,) bool: rows of which a content says nothing of the product
    folds: list[Split]
    fusions: tuple[str, ...]
    notes: list[str]
    content_sha256: str
    sample_weights: np.ndarray | None = None  # (N,) float64: how often each row counts; None: once
    corrections: Corrections | None = None  # which are made in the labels
    placeholders: Sequence[Placeholder] = ()
    unlabelled: np.ndarray | None = None  # (n,) int64, rows without label that are copies of none with one
    pseudo_labels: PseudoLabels | None = None  # which are learned from, and nothing else
    class_names: Mapping[Encoder, Tensor] = field(default_factory=dict)  # (K, D), of the names, where the cache has all
    views: Mapping[Encoder, Sequence[Tensor]] = field(default_factory=dict)  # (N, D) each, to draw from in training

    @property
    def encoders(self) -> dict[str, list[str]]:
        """The encoders of each modality."""
        return _by_modality(self.vectors)

    @property
    def combinations(self) -> list[dict[str, str]]:
        """Every choice of one encoder a modality."""
        encoders = self.encoders
        return [dict(zip(encoders, names, strict=True)) for names in itertools.product(*encoders.values())]

    @property
    def test_rows(self) -> np.ndarray:
        """The test rows of all folds, one fold after the other."""
        return np.concatenate([fold.test for fold in self.folds])

    @property
    def untrained(self) -> list[str]:
        """The names of the encoders whose weights are random."""
        return sorted({name for versions in self.vectors.values() for name in versions[0].untrained})

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each encoder's spec; of one that is fitted on training rows, those of all folds."""
        return {
            f"{modality}/{name}": ", ".join(vectors.specs[modality].fingerprint for vectors in versions)
            for (modality, name), versions in self.vectors.items()
        }

    def version(self, encoder: Encoder, fold: int) -> int:
        """Return which of an encoder's versions a fold has: what is fitted on training rows differs by fold."""
        return fold if len(self.vectors[encoder]) > 1 else 0

    def encoder_vectors(self, encoder: Encoder, fold: int) -> Vectors:
        """Return the vectors of one encoder in a fold."""
        return self.vectors[encoder][self.version(encoder, fold)]

    def joint_vectors(self, encoders: Mapping[str, str], fold: int) -> Vectors:
        """Return the vectors of some encoders, one a modality, in a fold; nothing is copied."""
        return Vectors.merge(self.encoder_vectors(encoder, fold) for encoder in encoders.items())

    def ids_of(self, rows: np.ndarray) -> list[str]:
        """Return the ids of some rows."""
        return [self.ids[row] for row in rows]


def pose(cache: Cache, settings: ProblemSettings) -> Problem:
    """Return the problem that the settings pose on a cache.

    Where encoders are compared, all of a modality are if none of it is named. A row counts where it has a vector in
    every combination of the encoders, so that all are compared on the same rows.

    Raises:
        MissingEntryError: the cache lacks a modality or an encoder.
        LabelError, SplitError, HeadError: the labels, the folds, the encoders or the fusions cannot be had.
    """
    column = find_label_column(cache, settings.label, may_be_new=settings.corrections is not None)
    corrections = read_corrections(settings.corrections) if settings.corrections is not None else None
    request = MetadataRequest.of(cache, settings, label=column)
    modalities, notes = choose_modalities(cache, settings.modalities, has_metadata=request is not None)
    chosen = choose_encoders(cache, sorted(modalities), settings.encoders)
    on_disk = _stay_on_disk(cache, chosen, settings)
    head_names, fusion_notes = resolve_names(settings.fusions, on_disk=on_disk)
    notes += fusion_notes
    choice = choice_notes(cache, column) if settings.label is None else []
    notes += choice
    if column not in cache.columns():
        notes.append(f"No column {column} yet: its labels are those of --corrections.")
    fusions = _choose_fusions(head_names, sorted([*modalities, *([METADATA] if request else [])]), on_disk=on_disk)
    vectors = _load(cache, chosen, fusions, settings, on_disk=on_disk)
    notes += [*coverage_notes(cache, vectors.values()), *token_notes(vectors.values())]
    has_vectors = _rows_in_all(vectors, len(cache))
    try:
        labels = make_labels(
            column,
            cells_of(cache, column),
            usable=has_vectors | request.filled if request else has_vectors,
            min_rows=settings.min_rows,
            level=settings.label_level,
            corrections=corrections,
            ids=cache.ids() if corrections else (),
        )
    except LabelError as error:
        raise LabelError(" ".join([str(error), *choice])) from error
    groups = find_groups(
        cache, labels, encoders=_by_modality(vectors), column=settings.group_column, cosine=settings.near_duplicates
    )
    folds = _split(cache, labels, groups.of_rows, settings)
    class_names, name_notes = find_class_names(
        cache, vectors, labels.classes, column=column, level=settings.label_level
    )
    notes += [*labels.notes, *absence_notes(labels, vectors.values()), *groups.notes, *name_notes]
    notes += row_notes(cache, labels, groups.of_rows, folds, settings)
    versions: dict[Encoder, Sequence[Vectors]] = {encoder: [of_encoder] for encoder, of_encoder in vectors.items()}
    if request:
        versions[METADATA, ENCODER], column_notes = request.vectors(labels, folds)
        folds, without_notes = _without_unknown_rows(folds, has_vectors, versions[METADATA, ENCODER])
        notes += [*column_notes, *without_notes]
    notes += few_rows_notes(settings, folds, fusions=fusions, n_classes=len(labels.classes))
    for note in notes:
        log.info(note)
    return Problem(
        ids=cache.ids(),
        vectors=dict(sorted(versions.items())),
        labels=labels,
        groups=groups.of_rows,
        is_placeholder=groups.is_placeholder,
        folds=folds,
        fusions=fusions,
        notes=notes,
        content_sha256=cache.content_sha256,
        corrections=corrections,
        placeholders=groups.placeholders,
        class_names=class_names,
        unlabelled=find_unlabelled(cache, labels, groups=groups.of_rows, split_column=settings.split_column),
    )


def _by_modality(encoders: Iterable[Encoder]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for modality, name in encoders:
        names.setdefault(modality, []).append(name)
    return names


def _choose_fusions(names: Sequence[str], modalities: Sequence[str], *, on_disk: bool) -> tuple[str, ...]:
    """Return the requested heads besides the single modalities; where there is one modality alone, none that fuses.

    Raises:
        HeadError: a requested head is a modality that the cache lacks, needs two, or has the name of another.
    """
    for name in names:
        if name not in (*HEAD_TYPES, *modalities) and not is_plugin(name):
            raise HeadError(
                f"Expected --fusion {name} to be a modality of the cache, but these are {', '.join(modalities)}."
            )
    chosen = tuple(name for name in names if name not in modalities)
    taken_names = {*modalities, *HEAD_TYPES}
    plugin_names = [head_name(name) for name in chosen if is_plugin(name)]
    if twice := [name for name in plugin_names if name in taken_names or plugin_names.count(name) > 1]:
        raise HeadError(
            f"Expected heads to have names of their own, but there are two of {twice[0]}. Rename your class."
        )
    if len(modalities) > 1:
        return chosen
    all_fusions = fusion_names(on_disk=on_disk)
    if set(all_fusions) <= set(chosen):  # all of them means all that there can be
        chosen = tuple(name for name in chosen if name not in all_fusions)  # which were named beside
    kinds = {name: HEAD_TYPES[name] for name in chosen if name in HEAD_TYPES}
    fusions = [name for name, kind in kinds.items() if kind.needs_two or not kind.at_once]
    if fusions:
        raise HeadError(
            f"The fusion {fusions[0]} needs two modalities, but there is {modalities[0]} alone. Train it with "
            f"--fusion {modalities[0]}, or extract another modality."
        )
    return chosen


def _stay_on_disk(cache: Cache, encoders: Iterable[Encoder], settings: ProblemSettings) -> bool:
    """Return whether vectors do not fit into memory, as read and standardised for each fold."""
    total_dim = sum(dimension(cache, modality, split_name(cache, modality, name)) for modality, name in encoders)
    return 4 * (1 + settings.folds) * len(cache) * total_dim > memory_bytes(settings.memory)


def _load(
    cache: Cache, encoders: Iterable[Encoder], fusions: Iterable[str], settings: ProblemSettings, *, on_disk: bool
) -> dict[Encoder, Vectors]:
    """Return each encoder's vectors, in memory or on the disk."""
    encoders, fusions = list(encoders), list(fusions)
    names = {(modality, name): split_name(cache, modality, name) for modality, name in encoders}
    check_in_memory(fusions, on_disk=on_disk)  # now: a failure that is the machine's is not one to remember
    with_tokens = any(head_type(name).takes_tokens for name in fusions)
    vectors = {}
    for (modality, name), several in names.items():
        has_tokens = len(several) == 1 and cache.has_tokens(modality, *several)
        tokens_of = [modality] if with_tokens and has_tokens else []
        vectors[modality, name] = load_vectors(
            cache, encoders={modality: name}, tokens_of=tokens_of, on_disk=on_disk, memory=settings.memory
        )
    return vectors


def _rows_in_all(vectors: Mapping[Encoder, Vectors], n_rows: int) -> np.ndarray:
    """Return the rows that have, of some modality, the vectors of all its encoders, (N,) bool."""
    in_all: dict[str, np.ndarray] = {}
    for (modality, _), of_encoder in vectors.items():
        in_all[modality] = in_all.get(modality, True) & of_encoder.some_present()
    return np.logical_or.reduce([*in_all.values(), np.zeros(n_rows, dtype=bool)])


def _without_unknown_rows(
    folds: Sequence[Split], has_vectors: np.ndarray, metadata: Sequence[Vectors]
) -> tuple[list[Split], list[str]]:
    """Return the folds without rows of which there are neither vectors nor metadata, and a note on those of the first.

    Shape:
        has_vectors: (N,) bool, of the encoders; `metadata` has those of each fold
    """
    is_unknown = [~(has_vectors | vectors.some_present()) for vectors in metadata]
    without = [fold.without(rows) for fold, rows in zip(folds, is_unknown, strict=True)]
    return [fold for fold, _ in without], without[0][1]


def _split(cache: Cache, labels: Labels, groups: np.ndarray, settings: ProblemSettings) -> list[Split]:
    """Return the folds, or one split.

    Raises:
        LabelError, SplitError: there is no such column, or a side would have too few rows.
    """
    generator, share = np.random.default_rng(settings.draw_seed), settings.validation_share
    targets, column = labels.targets, settings.split_column
    if settings.folds > 1:
        return split_folds(targets, groups, n_folds=settings.folds, validation_share=share, generator=generator)
    if column is None:
        test_share = settings.test_share
        return [split_rows(targets, groups, test_share=test_share, validation_share=share, generator=generator)]
    if column not in cache.columns():
        raise LabelError(no_such_column("--split-column", column, cache.columns()))
    cells = cache.column(column)
    return [split_by_column(column, cells, targets, groups, validation_share=share, generator=generator)]
