"""What all heads of a run share: vectors, labels, the split, and what was left out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from cache import Cache
from heads.data.labels import Labels, find_label_column, make_labels
from heads.data.memory_budget import memory_bytes
from heads.data.metadata import METADATA
from heads.data.metadata_request import MetadataWish
from heads.data.modalities import choose_modalities
from heads.data.splits import Split, split_by_column, split_rows, straddlers
from heads.data.vectors import Vectors, load_vectors, share_content
from heads.errors import HeadError, LabelError
from heads.head_types import HEAD_TYPES, fusion_names, head_type
from heads.modules.description import HeadDescription
from heads.modules.plugin import head_name, is_plugin
from heads.modules.standardiser import Standardise
from heads.settings import FitSettings, TrainSettings
from heads.training.job import Task

__all__ = [
    "Problem",
    "SplitSettings",
    "choose_fusions",
    "coverage_notes",
    "describe",
    "fitted_standardise",
    "pose",
    "readable_rows",
    "split_notes",
    "split_once",
    "task_of",
    "token_notes",
]

log = logging.getLogger("embed_once")


LARGE_GROUP = 0.05  # of the rows, from which on a group of duplicates is worth a note


class SplitSettings(Protocol):
    """What a split follows from, beside the labels and the duplicates."""

    @property
    def split_column(self) -> str | None: ...

    @property
    def test_share(self) -> float: ...

    @property
    def validation_share(self) -> float: ...


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
    wish = MetadataWish.of(cache, settings, label=column)
    modalities, notes = choose_modalities(cache, settings.modalities, has_metadata=wish is not None)
    for modality, encoder in settings.encoders.items():
        if modality not in modalities:
            raise HeadError(
                f"--encoder: expected one of the modalities {', '.join(modalities)}, got {modality}={encoder}."
            )
    encoders = {name: cache.encoder(name, settings.encoders.get(name)) for name in modalities}
    has_attention = any(head_type(name).takes_tokens for name in settings.fusions) and (
        len(modalities) + (wish is not None) > 1
    )
    tokens_of = [name for name, encoder in encoders.items() if has_attention and cache.has_tokens(name, encoder)]
    on_disk = needed_bytes(cache, encoders.items()) > memory_bytes(settings.memory)
    vectors = load_vectors(cache, encoders=encoders, tokens_of=tokens_of, on_disk=on_disk)
    fusions = choose_fusions(settings.fusions, sorted([*modalities, *([METADATA] if wish else [])]))
    masks = [mask.numpy() for mask in vectors.present.values()] + ([wish.filled] if wish else [])
    labels = make_labels(column, cache.column(column), usable=np.logical_or.reduce(masks), min_rows=settings.min_rows)
    groups = share_content([readable_rows(cache, modality) for modality in cache.modalities])
    generator = np.random.default_rng(settings.seed)
    notes += [*coverage_notes(cache, vectors), *token_notes(vectors), *labels.notes]
    split, straddling = split_once(cache, labels, groups, settings=settings, generator=generator)
    notes += [*straddling, *split_notes(labels, groups, split)]
    if wish:
        (metadata,), about_columns = wish.vectors(labels, [split])
        vectors = Vectors.together([vectors, metadata])
        notes += about_columns
        split, unknown = split.without(~vectors.some_present())
        notes += unknown
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


def split_once(
    cache: Cache, labels: Labels, groups: np.ndarray, *, settings: SplitSettings, generator: np.random.Generator
) -> tuple[Split, list[str]]:
    """Return the split into training, validation and test rows, and a note where a column lets duplicates straddle.

    Raises:
        LabelError, SplitError: there is no such column, or a side would have too few rows.
    """
    column = settings.split_column
    if column is None:
        split = split_rows(
            labels.codes,
            groups,
            test_share=settings.test_share,
            validation_share=settings.validation_share,
            generator=generator,
        )
        return split, []
    if column not in cache.columns():
        raise LabelError(
            f"--split-column: expected one of the catalogue's columns ({', '.join(cache.columns())}), got {column!r}."
        )
    split = split_by_column(
        column,
        cache.column(column),
        labels.codes,
        groups,
        validation_share=settings.validation_share,
        generator=generator,
    )
    n_straddling = straddlers(split, groups)
    if not n_straddling:
        return split, []
    return split, [
        f"{n_straddling} of {len(split.test)} test rows share a picture or a text with training rows: {column} lets "
        "duplicates straddle, and the scores are too good."
    ]


def fitted_standardise(vectors: Vectors, split: Split) -> Standardise:
    """Return the standardisation of all modalities, with the statistics of the training rows."""
    standardise = Standardise(vectors.dims, vectors.token_dims)
    return standardise.fit(vectors.inputs, vectors.present, torch.from_numpy(split.train), tokens=vectors.tokens)


def task_of(vectors: Vectors, standardise: Standardise, codes: np.ndarray, split: Split) -> Task:
    """Return what heads learn from."""
    return Task(
        inputs=vectors.inputs,
        present=vectors.present,
        codes=torch.from_numpy(codes),
        split=split,
        tokens=vectors.tokens,
        standardise=standardise,
    )


def describe(
    name: str, vectors: Vectors, *, n_classes: int, settings: FitSettings, weights: Mapping[str, float]
) -> HeadDescription:
    """Return the description of a modality's own head, or of a fusion of all modalities."""
    is_fusion, kind = name not in vectors.dims, head_type(name)
    return HeadDescription(
        name=head_name(name),
        plugin=name if is_plugin(name) else None,
        dims=vectors.dims if is_fusion else {name: vectors.dims[name]},
        n_classes=n_classes,
        hidden_dim=settings.hidden_dim,
        dropout=settings.dropout,
        n_tokens=settings.n_tokens,
        n_attention_heads=settings.n_attention_heads,
        rank=settings.rank,
        absent=settings.absent if is_fusion and not (kind.at_once or kind.is_average) else "zeros",
        weights=dict(weights) if kind.is_average else {},
        token_dims=vectors.token_dims if kind.takes_tokens else {},
        n_positions=vectors.n_positions if kind.takes_tokens else {},
    )


def needed_bytes(cache: Cache, encoders: Iterable[tuple[str, str]], *, n_folds: int = 1) -> int:
    """Return what the vectors of (modality, encoder) pairs take in memory: as read, and standardised for each fold."""
    n_copies = 1 + n_folds
    return 4 * n_copies * len(cache) * sum(cache.dimension(modality, encoder) for modality, encoder in encoders)


def choose_fusions(names: Sequence[str], modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the heads asked for besides the single modalities; where there is one modality alone, none that fuses.

    Raises:
        HeadError: a head asked for is a modality that the cache lacks, needs two, or has another one's name.
    """
    for name in names:
        if name not in (*HEAD_TYPES, *modalities) and not is_plugin(name):
            raise HeadError(
                f"Expected --fusion {name} to be a modality of the cache, but these are {', '.join(modalities)}."
            )
    chosen = tuple(name for name in names if name not in modalities)
    taken = {*modalities, *HEAD_TYPES}
    called = [head_name(name) for name in chosen if is_plugin(name)]
    if twice := [name for name in called if name in taken or called.count(name) > 1]:
        raise HeadError(
            f"Expected heads to have names of their own, but there are two of {twice[0]}. Rename your class."
        )
    if len(modalities) > 1:
        return chosen
    every = fusion_names()
    fusions = tuple(name for name in chosen if name in every)
    if fusions not in ((), every):  # all of them means all that there can be
        raise HeadError(
            f"The fusion {fusions[0]} needs two modalities, but there is {modalities[0]} alone. Train it with "
            f"--fusion {modalities[0]}, or extract another modality."
        )
    return tuple(name for name in chosen if name not in every)


def coverage_notes(cache: Cache, vectors: Vectors) -> list[str]:
    """Return a note for each modality that some products lack, and why."""
    notes = []
    for modality, encoder in vectors.encoders.items():
        present = vectors.present[modality].numpy()
        if not present.any():
            raise HeadError(f"Training needs vectors, but no product has one of {modality}/{encoder}.")
        if present.all():
            continue
        statuses = np.array(cache.statuses(modality))
        reasons = Counter(np.where(statuses == "ok", "not encoded", statuses)[~present].tolist())
        shown = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        notes.append(f"{int((~present).sum())} of {len(present)} rows have no vector of {modality}/{encoder}: {shown}.")
    return notes


def token_notes(vectors: Vectors) -> list[str]:
    """Return a note on the tokens that attention looks at."""
    shown = []
    for modality, tokens in vectors.tokens.items():
        counts = tokens.counts[vectors.present[modality]]
        fewest, most = int(counts.min()), int(counts.max())
        shown.append(f"{modality} ({most if fewest == most else f'{fewest} to {most}'})")
    return [f"attention looks at the tokens of {' and '.join(shown)}."] if shown else []


def readable_rows(cache: Cache, modality: str) -> np.ndarray:
    """Return each product's content row, -1 where it could not be read: a page saved as a picture is no duplicate."""
    rows = cache.rows(modality)
    readable = np.append(cache.content_statuses(modality) == b"ok", False)
    return np.where(readable[rows], rows, -1)


def split_notes(labels: Labels, groups: np.ndarray, split: Split) -> list[str]:
    """Return notes on groups of duplicates that are large, and on classes that a side lacks."""
    notes = []
    used = groups[labels.codes >= 0]
    largest = int(np.bincount(used).max())
    if largest > LARGE_GROUP * len(used):
        notes.append(
            f"{largest} of {len(used)} rows share pictures or texts with each other (a placeholder?) and stand on one "
            "side of the split."
        )
    for side, rows in (("training", split.train), ("test", split.test)):
        missing = len(labels.classes) - len(np.unique(labels.codes[rows]))
        if missing:
            notes.append(f"{missing} of {len(labels.classes)} classes have no {side} row in this split.")
    return notes
