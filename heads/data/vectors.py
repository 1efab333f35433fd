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
    tokens: dict[str, ProductTokens] = field(default_factory=dict)  # of the modalities asked for
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
            **{part: {name: every[name] for name in names if name in every} for part, every in vars(self).items()}
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

    def seen(self, present: Mapping[str, torch.Tensor]) -> Vectors:
        """Return the vectors as they would be if only these entries were there, {modality: (N,) bool}."""
        return replace(
            self,
            present=dict(present),
            tokens={
                name: replace(states, counts=states.counts * present[name]) for name, states in self.tokens.items()
            },
        )

    @staticmethod
    def together(several: Iterable[Vectors]) -> Vectors:
        """Return the modalities of several, which are of the same products, sorted by name; nothing is copied."""
        parts: dict[str, dict[str, Any]] = {}
        for vectors in several:
            for part, every in vars(vectors).items():
                parts[part] = parts.get(part, {}) | every
        return Vectors(**{part: dict(sorted(every.items())) for part, every in parts.items()})

    @staticmethod
    def joined(several: Sequence[Vectors]) -> Vectors:
        """Return the rows of several, one after the other; their tokens are of the same contents."""
        first = several[0]
        return replace(
            first,
            inputs={name: torch.cat([one.inputs[name] for one in several]) for name in first.inputs},
            present={name: torch.cat([one.present[name] for one in several]) for name in first.present},
            tokens={
                name: replace(
                    states,
                    starts=torch.cat([one.tokens[name].starts for one in several]),
                    counts=torch.cat([one.tokens[name].counts for one in several]),
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

    `tokens_of` names the modalities whose token states are wanted too: they are large. With `on_disk` the vectors are
    read when they are asked for, by rows; else they may take `memory`, as of `Cache.matrix`.

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
        none = torch.zeros(n_products, dtype=torch.int64)
        tokens[modality] = ProductTokens(torch.zeros(0, token_dim, dtype=torch.float16), starts=none, counts=none)
    return Vectors(
        encoders={modality: encoder},
        specs={modality: spec},
        inputs={modality: torch.zeros(n_products, dim)},
        present={modality: torch.zeros(n_products, dtype=torch.bool)},
        tokens=tokens,
    )
