"""What all jobs of an ablation share: the vectors of every encoder, the labels, the folds."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cache import Cache
from cache.keys import fields_sha256
from heads.ablation.ablation_settings import AblationSettings
from heads.data.folds import split_folds
from heads.data.labels import Labels, find_label_column, make_labels
from heads.data.memory_budget import memory_bytes
from heads.data.metadata import ENCODER, METADATA
from heads.data.metadata_request import MetadataWish
from heads.data.modalities import choose_modalities
from heads.data.splits import Split
from heads.data.vectors import Vectors, load_vectors, share_content
from heads.errors import HeadError
from heads.experiment.problem import (
    choose_fusions,
    coverage_notes,
    needed_bytes,
    readable_rows,
    split_notes,
    split_once,
    token_notes,
)
from heads.head_types import head_type
from heads.training.direct import check_in_memory

__all__ = ["AblationProblem", "pose_ablation", "split_sha256", "tokens_sha256", "vectors_sha256"]

HASHED_ROWS = 65_536  # vectors that are hashed at once

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class AblationProblem:
    """Everything that the jobs of an ablation share."""

    ids: list[str]
    vectors: Mapping[tuple[str, str], Sequence[Vectors]]  # (modality, encoder) -> its own: for all folds, or one each
    labels: Labels
    groups: np.ndarray
    folds: list[Split]
    fusions: tuple[str, ...]
    notes: list[str]
    content_sha256: str

    @property
    def encoders(self) -> dict[str, list[str]]:
        """The encoders of each modality."""
        found: dict[str, list[str]] = {}
        for modality, name in self.vectors:
            found.setdefault(modality, []).append(name)
        return found

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
            f"{modality}/{name}": ", ".join(own.specs[modality].fingerprint for own in versions)
            for (modality, name), versions in self.vectors.items()
        }

    def version(self, encoder: tuple[str, str], fold: int) -> int:
        """Return which of an encoder's versions a fold has: what is fitted on training rows differs by fold."""
        return fold if len(self.vectors[encoder]) > 1 else 0

    def own(self, encoder: tuple[str, str], fold: int) -> Vectors:
        """Return the vectors of one (modality, encoder) in a fold."""
        return self.vectors[encoder][self.version(encoder, fold)]

    def of(self, encoders: Mapping[str, str], fold: int) -> Vectors:
        """Return the vectors of some encoders, one a modality, in a fold; nothing is copied."""
        return Vectors.together(self.own(encoder, fold) for encoder in encoders.items())


def pose_ablation(cache: Cache, settings: AblationSettings) -> AblationProblem:
    """Return the problem that the settings pose on a cache.

    A row counts where it has a vector in every combination of the encoders, so that all are compared on the same rows.

    Raises:
        MissingEntryError: the cache lacks a modality.
        LabelError, SplitError, HeadError: the labels, the folds, the encoders or the fusions cannot be had.
    """
    column = find_label_column(cache, settings.label)
    wish = MetadataWish.of(cache, settings, label=column)
    modalities, notes = choose_modalities(cache, settings.modalities, has_metadata=wish is not None)
    fusions = choose_fusions(settings.fusions, sorted([*modalities, *([METADATA] if wish else [])]))
    chosen = _choose_encoders(cache, sorted(modalities), settings.encoders)
    with_tokens = any(head_type(name).takes_tokens for name in fusions)
    pairs = [(modality, name) for modality, names in chosen.items() for name in names]
    on_disk = needed_bytes(cache, pairs, n_folds=settings.folds) > memory_bytes(settings.memory)
    check_in_memory(fusions, on_disk=on_disk)  # now: a failure that is the machine's is not one to remember
    vectors = {pair: _load(cache, pair, with_tokens=with_tokens, on_disk=on_disk) for pair in pairs}
    by_modality = [
        np.stack([vectors[modality, name][0].some_present() for name in names]).all(0)
        for modality, names in chosen.items()
    ]
    if wish:
        by_modality.append(wish.filled)
    labels = make_labels(
        column, cache.column(column), usable=np.logical_or.reduce(by_modality), min_rows=settings.min_rows
    )
    groups = share_content([readable_rows(cache, modality) for modality in cache.modalities])
    for own in vectors.values():
        notes += [*coverage_notes(cache, own[0]), *token_notes(own[0])]
    folds, about_folds = _split(cache, labels, groups, settings)
    notes += [*labels.notes, *about_folds]
    if wish:
        vectors[METADATA, ENCODER], about_columns = wish.vectors(labels, folds)
        notes += about_columns
        known = np.logical_or.reduce(by_modality[:-1]) if chosen else np.zeros(len(labels.codes), dtype=bool)
        without = [
            fold.without(~(known | own.some_present()))
            for fold, own in zip(folds, vectors[METADATA, ENCODER], strict=True)
        ]
        folds, unknown = [fold for fold, _ in without], [note for _, note in without]
        notes += unknown[0]
    for note in notes:
        log.info(note)
    return AblationProblem(
        ids=cache.ids(),
        vectors=dict(sorted(vectors.items())),
        labels=labels,
        groups=groups,
        folds=folds,
        fusions=fusions,
        notes=notes,
        content_sha256=cache.content_sha256,
    )


def vectors_sha256(vectors: Vectors) -> str:
    """Return the SHA-256 of the vectors, of who has them and of the specs: a cache that grows keeps its past."""
    digests = {f"spec {name}": spec.fingerprint for name, spec in vectors.specs.items()}
    digests |= {f"present {name}": _sha256(mask.numpy()) for name, mask in vectors.present.items()}
    for name, matrix in vectors.inputs.items():
        blocks = torch.arange(matrix.shape[0]).split(HASHED_ROWS)  # it may stand on the disk
        digests[f"input {name}"] = fields_sha256(
            {str(number): _sha256(matrix[block].numpy()) for number, block in enumerate(blocks)}
        )
    return fields_sha256(digests)


def tokens_sha256(vectors: Vectors) -> str:
    """Return the SHA-256 of the token states, for the heads that look at such."""
    return fields_sha256(
        {
            f"{part} {name}": _sha256(tensor.numpy())
            for name, tokens in vectors.tokens.items()
            for part, tensor in vars(tokens).items()
        }
    )


def split_sha256(split: Split, codes: np.ndarray) -> str:
    """Return the SHA-256 of the rows of each side, and of their classes."""
    rows = {side: _sha256(own.astype("<i8")) for side, own in vars(split).items()}
    return fields_sha256(rows | {"codes": _sha256(codes.astype("<i8"))})


def _choose_encoders(cache: Cache, modalities: Sequence[str], asked: Sequence[str]) -> dict[str, list[str]]:
    """Return the encoders of each modality: those asked for, or all where none of its own is."""
    there = {modality: cache.encoders(modality) for modality in modalities}
    for name in asked:
        if not any(name in names for names in there.values()):
            shown = "; ".join(f"{modality}: {', '.join(names) or 'none'}" for modality, names in there.items())
            raise HeadError(f"--encoders: expected some of the cache's ({shown}), got {name!r}.")
    chosen = {}
    for modality, names in there.items():
        filled = [name for name in names if cache.dimension(modality, name)]
        chosen[modality] = [name for name in names if name in asked] or filled or names
        if not chosen[modality]:
            raise HeadError(f"Training needs vectors, but {cache.path} has none of {modality}.")
    return chosen


def _load(cache: Cache, encoder: tuple[str, str], *, with_tokens: bool, on_disk: bool) -> Sequence[Vectors]:
    """Return an encoder's vectors, which are the same in all folds."""
    modality, name = encoder
    tokens_of = [modality] if with_tokens and cache.has_tokens(modality, name) else []
    return [load_vectors(cache, encoders={modality: name}, tokens_of=tokens_of, on_disk=on_disk)]


def _split(
    cache: Cache, labels: Labels, groups: np.ndarray, settings: AblationSettings
) -> tuple[list[Split], list[str]]:
    generator = np.random.default_rng(settings.split_seed)
    if settings.folds == 1:
        split, notes = split_once(cache, labels, groups, settings=settings, generator=generator)
        return [split], [*notes, *split_notes(labels, groups, split)]
    folds = split_folds(
        labels.codes,
        groups,
        n_folds=settings.folds,
        validation_share=settings.validation_share,
        generator=generator,
    )
    tested = np.concatenate([fold.test for fold in folds])
    notes = []
    n_untested = int((labels.codes >= 0).sum()) - len(tested)
    if n_untested:
        notes.append(
            f"{n_untested} rows share pictures or texts with more than half of their class: they train in every fold, "
            "and are tested in none."
        )
    missing = len(labels.classes) - len(np.unique(labels.codes[tested]))
    if missing:
        notes.append(f"{missing} of {len(labels.classes)} classes have no test row in any fold.")
    return folds, notes


def _sha256(array: np.ndarray) -> str:
    content = np.ascontiguousarray(array)
    about = f"{content.dtype.str} {content.shape} ".encode()
    return hashlib.sha256(about + hashlib.sha256(content.data).digest()).hexdigest()
