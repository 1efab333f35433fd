"""From the cache to matrices: each modality's vectors, and who has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from cache import Cache, ContentSpec, EncoderSpec
from cache.system.memory_budget import check_memory
from heads.data.disk_vectors import DiskMatrix
from heads.data.encoder_sets import dimension, joined_name, joined_spec, parts_of, present, split_names
from heads.data.tokens import ProductTokens, load_tokens

__all__ = ["Vectors", "load_vectors", "no_vectors"]


@dataclass(frozen=True)
class Vectors:
    """The vectors of N products, by modality, sorted by name.

    Shape:
        inputs: {modality: (N, D) float32}, zeros where the product has none
        present: {modality: (N,) bool}
    """

    encoders: dict[str, str]  # by modality; several with plus signs between
    specs: dict[str, EncoderSpec]
    inputs: dict[str, Any]  # tensors, or what reads them from the disk
    present: dict[str, torch.Tensor]
    tokens: dict[str, ProductTokens] = field(default_factory=dict)  # of the requested modalities
    contents: dict[str, ContentSpec] = field(default_factory=dict)  # how those encoded are made, where it is known
    widths: dict[str, tuple[int, ...]] = field(default_factory=dict)  # D of each encoder, where there are several

    @property
    def dims(self) -> dict[str, int]:
        """D of each modality."""
        return {modality: matrix.shape[1] for modality, matrix in self.inputs.items()}

    @property
    def on_disk(self) -> bool:
        """Whether the vectors stay on the disk, and are read by rows."""
        return not all(isinstance(matrix, torch.Tensor) for matrix in self.inputs.values())

    @property
    def token_dims(self) -> dict[str, int]:
        """D of the token states, of the modalities that have such."""
        return {modality: tokens.dim for modality, tokens in self.tokens.items()}

    @property
    def n_positions(self) -> dict[str, int]:
        """How many tokens each product has, of the modalities where all have as many: the cells of a map."""
        counts = {name: states.counts[self.present[name]].unique() for name, states in self.tokens.items()}
        return {name: int(distinct) for name, distinct in counts.items() if len(distinct) == 1}

    @property
    def untrained(self) -> list[str]:
        """The names of the encoders whose weights are random."""
        return [
            encoder
            for name, spec in self.specs.items()
            for encoder, part in parts_of(spec, self.encoders[name]).items()
            if part.fields.get("weights") == "random"
        ]

    def some_present(self, modalities: Iterable[str] | None = None) -> np.ndarray:
        """Return the rows that have a vector of one of the modalities, or of any, (N,) bool."""
        names = self.present if modalities is None else modalities
        return torch.stack([self.present[name] for name in names]).any(0).numpy()

    def part(self, modalities: Iterable[str]) -> Vectors:
        """Return the vectors of some modalities; nothing is copied."""
        names = sorted(modalities)
        return Vectors(
            **{
                field_name: {name: by_modality[name] for name in names if name in by_modality}
                for field_name, by_modality in vars(self).items()
            }
        )

    def take(self, rows: torch.Tensor, *, only: str | None = None) -> Vectors:
        """Return the vectors of some rows; with `only`, one modality's of other rows and all else as it is."""
        names = self.dims if only is None else (only,)
        return replace(
            self,
            inputs=self.inputs | {name: self.inputs[name][rows] for name in names},
            present=self.present | {name: self.present[name][rows] for name in names},
            tokens=self.tokens | {name: self.tokens[name].take(rows) for name in names if name in self.tokens},
        )

    def with_present(self, present: Mapping[str, torch.Tensor]) -> Vectors:
        """Return the vectors with other masks of what is present, {modality: (N,) bool}; tokens follow them."""
        return replace(
            self,
            present=dict(present),
            tokens={
                name: replace(states, counts=states.counts * present[name]) for name, states in self.tokens.items()
            },
        )

    @staticmethod
    def merge(several: Iterable[Vectors]) -> Vectors:
        """Return the modalities of several `Vectors` of the same products, sorted by name; nothing is copied."""
        by_field: dict[str, dict[str, Any]] = {}
        for vectors in several:
            for field_name, by_modality in vars(vectors).items():
                by_field[field_name] = by_field.get(field_name, {}) | by_modality
        return Vectors(
            **{field_name: dict(sorted(by_modality.items())) for field_name, by_modality in by_field.items()}
        )

    @staticmethod
    def concatenate(several: Sequence[Vectors]) -> Vectors:
        """Return the rows of several `Vectors`, one after the other; their tokens are of the same contents."""
        first = several[0]
        return replace(
            first,
            inputs={name: torch.cat([vectors.inputs[name] for vectors in several]) for name in first.inputs},
            present={name: torch.cat([vectors.present[name] for vectors in several]) for name in first.present},
            tokens={
                name: replace(
                    states,
                    starts=torch.cat([vectors.tokens[name].starts for vectors in several]),
                    counts=torch.cat([vectors.tokens[name].counts for vectors in several]),
                )
                for name, states in first.tokens.items()
            },
        )


def load_vectors(
    cache: Cache,
    *,
    encoders: Mapping[str, str | None],
    tokens_of: Iterable[str] = (),
    on_disk: bool = False,
    memory: str | None = None,
) -> Vectors:
    """Return the vectors of the modalities named; an encoder of None is the only one that the cache has.

    Of several encoders (`heads.data.encoder_sets`) the vectors are one; who lacks one of them has none.

    `tokens_of` names the modalities whose token states are loaded too: they are large. With `on_disk` rows of vectors
    are read when they are indexed; else all vectors may take `memory`, as of `Cache.matrix`.

    Raises:
        MissingEntryError: the cache lacks a modality, an encoder or its tokens, or has several to choose from.
        CacheError: the vectors take more than `memory`.
        HeadError: an encoder is named twice; or the cache was written anew since it was opened, and vectors are to stay
            on the disk.
    """
    names = split_names(cache, encoders)
    if not on_disk:
        total_dim = sum(dimension(cache, modality, several) for modality, several in names.items())
        check_memory(len(cache), total_dim, memory=memory, what=f"the vectors of {', '.join(names)}")
    inputs: dict[str, Any] = {}
    masks = {}
    for modality, several in names.items():
        mask = present(cache, modality, several)
        masks[modality] = torch.from_numpy(mask)
        if on_disk:
            inputs[modality] = DiskMatrix(
                cache.path, modality=modality, encoders=several, content_sha256=cache.content_sha256
            )
        else:
            matrix = _matrix(cache, modality, several, memory=memory)
            matrix[~mask] = 0
            inputs[modality] = torch.from_numpy(matrix)
    return Vectors(
        encoders={modality: joined_name(several) for modality, several in names.items()},
        specs={
            modality: joined_spec({name: cache.spec(modality, name) for name in several})
            for modality, several in names.items()
        },
        inputs=inputs,
        present=masks,
        tokens={modality: load_tokens(cache, modality, *names[modality]) for modality in sorted(tokens_of)},
        contents={modality: spec for modality in names if (spec := cache.content_spec(modality)) is not None},
        widths={
            modality: tuple(cache.dimension(modality, name) for name in several)
            for modality, several in names.items()
            if len(several) > 1
        },
    )


def _matrix(cache: Cache, modality: str, names: Sequence[str], *, memory: str | None) -> np.ndarray:
    """Return the vectors of one encoder, or of several side by side, (N, D) float32."""
    if len(names) == 1:
        return cache.matrix(modality, names[0], memory=memory)
    matrix = np.empty((len(cache), dimension(cache, modality, names)), dtype=np.float32)
    end = 0
    for name in names:
        start, end = end, end + cache.dimension(modality, name)
        matrix[:, start:end] = cache.matrix(modality, name, memory=memory)
    return matrix


def no_vectors(
    modality: str, n_products: int, dim: int, *, encoder: str, spec: EncoderSpec, token_dim: int | None = None
) -> Vectors:
    """Return one modality of products that have nothing of it; with `token_dim`, of tokens neither."""
    tokens = {}
    if token_dim is not None:
        zeros = torch.zeros(n_products, dtype=torch.int64)
        tokens[modality] = ProductTokens(torch.zeros(0, token_dim, dtype=torch.float16), starts=zeros, counts=zeros)
    return Vectors(
        encoders={modality: encoder},
        specs={modality: spec},
        inputs={modality: torch.zeros(n_products, dim)},
        present={modality: torch.zeros(n_products, dtype=torch.bool)},
        tokens=tokens,
    )
