"""The scaling that is part of the head: fitted on training rows, saved with the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.compiler import is_exporting

from heads.data.tokens import ProductTokens, TokenBatch
from heads.modules.parts.scalings import SCALINGS

__all__ = ["Standardise", "concatenate", "zero_absent"]

BLOCK_ROWS = 4096  # vectors that are read together
SUMMED_ROWS = 256  # of them, so that their squares stay in the processor's cache
BLOCK_CONTENTS = 256  # whose tokens are looked at together
LEAST_SCALE = 0.01  # of the modality's mean scale, so that a dimension that hardly varies is not blown up


def zero_absent(inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the vectors with zeros where a modality is absent, whatever stands there, NaN included.

    Shape:
        inputs, output: {modality: (..., B, D)}
        present: {modality: (..., B) bool}
    """
    return {name: _zero_rows(vectors, present[name]) for name, vectors in inputs.items()}


def concatenate(inputs: Mapping[str, Tensor], present: Mapping[str, Tensor], modalities: Iterable[str]) -> Tensor:
    """Return the modalities' vectors one after the other, zeros where one is absent.

    Shape:
        inputs: {modality: (..., B, D_modality)}
        present: {modality: (..., B) bool}
        output: (..., B, D), D the sum of all D_modality
    """
    return torch.cat(list(zero_absent({name: inputs[name] for name in modalities}, present).values()), dim=-1)


def _zero_rows(vectors: Tensor, mask: Tensor) -> Tensor:
    if vectors.device.type != "cpu" or is_exporting():  # where looking at the mask would wait, or not be possible
        return torch.where(mask[..., None], vectors, 0.0)
    if mask.all():  # on the CPU `where` costs as much as a matrix product
        return vectors
    return vectors.flatten(0, -2).index_fill(0, (~mask).flatten().nonzero()[:, 0], 0.0).reshape(vectors.shape)


class Standardise(nn.Module):
    """Scale vectors as `heads.modules.parts.scalings` says; an absent vector becomes zeros.

    Usually each dimension's mean is subtracted, and the rest divided by its standard deviation. So are tokens always.

    Shape:
        inputs: {modality: (B, D) float32}
        present: {modality: (B,) bool}
        output: {modality: (B, D) float32}
    """

    def __init__(
        self, dims: Mapping[str, int], token_dims: Mapping[str, int] | None = None, *, scaling: str = "z-score"
    ) -> None:
        super().__init__()
        self.modalities = sorted(dims)
        self.scaling = scaling
        self._extra_names = sorted(SCALINGS[scaling].empty(1))  # beside means and scales
        for modality in self.modalities:
            self.register_buffer(f"mean_{modality}", torch.zeros(dims[modality]))
            self.register_buffer(f"scale_{modality}", torch.ones(dims[modality]))
            for name, tensor in SCALINGS[scaling].empty(dims[modality]).items():
                self.register_buffer(f"{name}_{modality}", tensor)
        for modality, dim in sorted((token_dims or {}).items()):
            self.register_buffer(f"token_mean_{modality}", torch.zeros(dim))
            self.register_buffer(f"token_scale_{modality}", torch.ones(dim))

    @torch.no_grad()
    def fit(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        rows: Tensor,
        *,
        tokens: Mapping[str, ProductTokens] | None = None,
        weights: Tensor | None = None,
        widths: Mapping[str, Sequence[int]] | None = None,
    ) -> Standardise:
        """Take the statistics of the rows given, where the modality is present; return self.

        Tokens have no weights: each distinct content counts once, in however many rows it stands. Of modalities whose
        vectors are those of several encoders `widths` has the dimensions of each, which may be of another scale.

        Shape:
            weights: (N,) float64, how often each row counts; None: once
        """
        for modality, states in (tokens or {}).items():
            n_tokens, mean, scale = _token_statistics(states.take(rows))
            if n_tokens >= 2:
                self.get_buffer(f"token_mean_{modality}").copy_(mean)
                self.get_buffer(f"token_scale_{modality}").copy_(_bounded(scale))
        for modality in self.modalities:
            rows_with = rows[present[modality][rows]]
            if len(rows_with) < 2:
                continue  # nothing to take them from: the identity stays
            counts = None if weights is None else weights[rows_with]
            blocks = (inputs[modality][block] for block in rows_with.split(BLOCK_ROWS))
            shift = inputs[modality][rows_with[:1]][0].double()
            mean, scale = _moments(blocks, len(rows_with), shift=shift, weights=counts)
            self.get_buffer(f"mean_{modality}").copy_(mean)
            encoder_scales = scale.split(list((widths or {}).get(modality, [len(scale)])))
            self.get_buffer(f"scale_{modality}").copy_(
                torch.cat([_bounded(encoder_scale) for encoder_scale in encoder_scales])
            )
            read_blocks = partial(_blocks, inputs[modality], rows_with, weights)
            for name, tensor in SCALINGS[self.scaling].fit(mean, read_blocks).items():
                self.get_buffer(f"{name}_{modality}").copy_(tensor)
        return self

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return zero_absent(
            {modality: self._scaled(modality, inputs[modality]) for modality in self.modalities}, present
        )

    def _scaled(self, modality: str, vectors: Tensor) -> Tensor:
        mean, scale = self.get_buffer(f"mean_{modality}"), self.get_buffer(f"scale_{modality}")
        extra = {name: self.get_buffer(f"{name}_{modality}") for name in self._extra_names}
        return SCALINGS[self.scaling].apply(vectors, mean, scale, extra)

    def part(self, modalities: Iterable[str], token_modalities: Iterable[str] = ()) -> Standardise:
        """Return the standardisation of some of the modalities alone."""
        dims = {name: len(self.get_buffer(f"mean_{name}")) for name in modalities}
        token_dims = {name: len(self.get_buffer(f"token_mean_{name}")) for name in token_modalities}
        part = Standardise(dims, token_dims, scaling=self.scaling)
        part.load_state_dict({key: self.state_dict()[key] for key in part.state_dict()})
        return part

    def tokens(self, batches: Mapping[str, TokenBatch]) -> dict[str, TokenBatch]:
        """Return the token states standardised, with zeros in the padding."""
        return {modality: self._token_batch(modality, batch) for modality, batch in batches.items()}

    def _token_batch(self, modality: str, batch: TokenBatch) -> TokenBatch:
        mean, scale = self.get_buffer(f"token_mean_{modality}"), self.get_buffer(f"token_scale_{modality}")
        scaled = torch.addcmul(-mean / scale, batch.values, 1 / scale)  # in one pass: these are the largest arrays
        if is_exporting() or not batch.is_there.all():
            scaled = torch.where(batch.is_there[:, :, None], scaled, 0.0)
        return TokenBatch(scaled, batch.is_there)


def _blocks(matrix: Any, rows: Tensor, weights: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield some rows of a matrix, which may stand on the disk, and how often each counts."""
    for block in rows.split(BLOCK_ROWS):
        yield matrix[block], None if weights is None else weights[block]


def _bounded(scale: Tensor) -> Tensor:
    # Where all are the same vector there is no scale to take.
    return scale.clamp_min(LEAST_SCALE * scale.mean()) if scale.any() else torch.ones_like(scale)


def _token_statistics(tokens: ProductTokens) -> tuple[int, Tensor, Tensor]:
    """Return the number, mean and standard deviation of the tokens of all distinct contents, (D,) float64 each."""
    starts, first_products = np.unique(tokens.starts[tokens.counts > 0].numpy(), return_index=True)
    counts = tokens.counts[tokens.counts > 0][torch.from_numpy(first_products)]
    contents = ProductTokens(tokens.values, torch.from_numpy(starts), counts)
    n_tokens = int(counts.sum())
    blocks = (contents.take(block).packed().values for block in torch.arange(len(starts)).split(BLOCK_CONTENTS))
    shift = tokens.values[:1].double().sum(0)
    return n_tokens, *_moments(blocks, n_tokens, shift=shift)


def _moments(
    blocks: Iterable[Tensor], n_rows: int, *, shift: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of rows that come in blocks, (D,) float64 each.

    A row of weight 2 counts as two. Weights that come to less than one a row only say how rows compare.

    The sums are of what is left without `shift`, a row that is near the mean, so that the squares lose no digits.
    """
    total, squares = torch.zeros_like(shift), torch.zeros_like(shift)
    end = 0
    for block in blocks:
        for rows in block.split(SUMMED_ROWS):
            start, end = end, end + len(rows)
            values = rows.double() - shift  # (n, D)
            counts = None if weights is None else weights[start:end]
            total += values.sum(0) if counts is None else counts @ values
            squares += values.square_().sum(0) if counts is None else counts @ values.square_()
    n_counted = max(n_rows, 1) if weights is None else float(weights.sum())
    mean = total / n_counted
    n_free = n_counted - n_counted / max(n_counted, n_rows)  # less one
    variance = (squares - n_counted * mean.square()) / (n_free or 1)
    return mean + shift, variance.clamp_min(0).sqrt()
