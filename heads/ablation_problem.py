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
from heads.ablation_settings import AblationSettings
from heads.data import Vectors, load_vectors, share_content
from heads.direct import check_in_memory
from heads.errors import HeadError
from heads.folds import split_folds
from heads.labels import Labels, find_label_column, make_labels
from heads.memory import memory_bytes
from heads.problem import (
    choose_fusions,
    choose_modalities,
    coverage_notes,
    needed_bytes,
    readable_rows,
    split_notes,
    split_once,
    token_notes,
)
from heads.splits import Split

__all__ = ["AblationProblem", "pose_ablation", "split_sha256", "tokens_sha256", "vectors_sha256"]

HASHED_ROWS = 65_536  # vectors that are hashed at once

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class AblationProblem:
    """Everything that the jobs of an ablation share."""

    ids: list[str]
    vectors: Mapping[tuple[str, str], Vectors]  # (modality, encoder) -> that encoder's alone
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
        return sorted({name for vectors in self.vectors.values() for name in vectors.untrained})

    def of(self, encoders: Mapping[str, str]) -> Vectors:
        """Return the vectors of some encoders, one a modality; nothing is copied."""
        own = [self.vectors[modality, name] for modality, name in sorted(encoders.items())]
        fields = ("encoders", "specs", "inputs", "present", "tokens")
        return Vectors(**{field: _merged([getattr(vectors, field) for vectors in own]) for field in fields})


def pose_ablation(cache: Cache, settings: AblationSettings) -> AblationProblem:
    """Return the problem that the settings pose on a cache.

    A row counts where it has a vector in every combination of the encoders, so that all are compared on the same rows.

    Raises:
        MissingEntryError: the cache lacks a modality.
        LabelError, SplitError, HeadError: the labels, the folds, the encoders or the fusions cannot be had.
    """
    column = find_label_column(cache, settings.label)
    modalities, notes = choose_modalities(cache, settings.modalities)
    fusions = choose_fusions(settings.fusions, sorted(modalities))
    chosen = _choose_encoders(cache, sorted(modalities), settings.encoders)
    with_tokens = "attention" in fusions
    pairs = [(modality, name) for modality, names in chosen.items() for name in names]
    on_disk = needed_bytes(cache, pairs, n_folds=settings.folds) > memory_bytes(settings.memory)
    check_in_memory(fusions, on_disk=on_disk)  # now: a failure that is the machine's is not one to remember
    vectors = {
        (modality, name): load_vectors(
            cache,
            encoders={modality: name},
            tokens_of=[modality] if with_tokens and cache.has_tokens(modality, name) else [],
            on_disk=on_disk,
        )
        for modality, name in pairs
    }
    by_modality = [
        np.stack([vectors[modality, name].some_present() for name in names]).all(0)
        for modality, names in chosen.items()
    ]
    labels = make_labels(
        column, cache.column(column), usable=np.logical_or.reduce(by_modality), min_rows=settings.min_rows
    )
    groups = share_content([readable_rows(cache, modality) for modality in cache.modalities])
    for own in vectors.values():
        notes += [*coverage_notes(cache, own), *token_notes(own)]
    folds, about_folds = _split(cache, labels, groups, settings)
    notes += [*labels.notes, *about_folds]
    for note in notes:
        log.info(note)
    return AblationProblem(
        ids=cache.ids(),
        vectors=vectors,
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
            raise HeadError(f"--encoders must name some of the cache's ({shown}), however got {name!r}.")
    chosen = {}
    for modality, names in there.items():
        filled = [name for name in names if cache.dimension(modality, name)]
        chosen[modality] = [name for name in names if name in asked] or filled or names
        if not chosen[modality]:
            raise HeadError(f"Training needs vectors, however {cache.path} has none of {modality}.")
    return chosen


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


def _merged(parts: Sequence[Mapping]) -> dict:
    return {name: value for part in parts for name, value in part.items()}


def _sha256(array: np.ndarray) -> str:
    content = np.ascontiguousarray(array)
    about = f"{content.dtype.str} {content.shape} ".encode()
    return hashlib.sha256(about + hashlib.sha256(content.data).digest()).hexdigest()
