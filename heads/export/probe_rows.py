"""The rows that an export must answer as PyTorch does: golden rows, and random ones of every subset of modalities."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from heads.data.tokens import ProductTokens
from heads.export.graph_input import SHORTEST
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["BATCHES", "ProbeRows", "drawn_rows", "golden_rows", "graph_inputs", "subset_rows"]

BATCHES = (1, 2, 7)
MOST_DRAWN_TOKENS = 6
NEVER_SEEN = float("nan")  # the values of absent modalities, which must not change an answer


@dataclass(frozen=True)
class ProbeRows:
    """Rows, what the saved head answers, and the batches in which an export is to answer them.

    Shape:
        inputs: {graph's input: tensor of N rows}
        expected: (N, K) log-probabilities
        batches: (n,) int64 each
    """

    inputs: Mapping[str, Tensor]
    expected: Tensor
    batches: Sequence[Tensor]


def golden_rows(head: TrainedHead, path: Path) -> ProbeRows:
    """Return the rows that were saved with a head in ``<path>.safetensors``, with the answers that they had."""
    saved = load_file(path.with_name(f"{path.name}.safetensors"))
    names = list(head.description.dims)
    tokens = {
        name: ProductTokens(*(saved[f"golden.tokens.{field}.{name}"] for field in ("values", "starts", "counts")))
        for name in head.description.token_dims
    }
    inputs = {name: saved[f"golden.input.{name}"] for name in names}
    present = {name: saved[f"golden.present.{name}"] for name in names}
    expected = saved["golden.output"]
    return ProbeRows(graph_inputs(head, inputs, present, tokens), expected, [torch.arange(len(expected))])


def drawn_rows(head: TrainedHead, *, seed: int = 0) -> ProbeRows:
    """Return rows drawn around the training rows' means, a largest batch of each subset of modalities."""
    generator = torch.Generator().manual_seed(seed)
    description = head.description
    present, batches = subset_rows(list(description.dims))
    n_rows = len(next(iter(present.values())))
    statistics = dict(head.standardise.named_buffers())
    inputs = {}
    for name, dim in description.dims.items():
        noise = torch.randn(n_rows, dim, generator=generator)
        vectors = statistics[f"mean_{name}"] + 2 * statistics[f"scale_{name}"] * noise
        inputs[name] = torch.where(present[name][:, None], vectors, NEVER_SEEN)
    tokens = {}
    for name, dim in description.token_dims.items():
        counts = torch.randint(1, MOST_DRAWN_TOKENS + 1, (n_rows,), generator=generator)
        counts = counts.clamp(min=description.n_positions.get(name, 1)) * present[name]
        noise = torch.randn(int(counts.sum()), dim, generator=generator)
        values = statistics[f"token_mean_{name}"] + statistics[f"token_scale_{name}"] * noise
        tokens[name] = ProductTokens(values.half(), counts.cumsum(0) - counts, counts)
    expected = head.log_probabilities(inputs, present, tokens)
    return ProbeRows(graph_inputs(head, inputs, present, tokens), expected, batches)


def subset_rows(modalities: Sequence[str]) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return rows of every subset of modalities, the empty one too, and batches of one subset and of many.

    Shape:
        output: {modality: (N,) bool}, which rows have it; and the batches, (n,) int64 each
    """
    n_copies = max(BATCHES)  # rows of each subset
    membership = torch.tensor(list(itertools.product([True, False], repeat=len(modalities))))  # (S, M)
    rows = membership.repeat_interleave(n_copies, dim=0)  # (S * n_copies, M)
    pure = torch.arange(len(rows)).split(n_copies)
    # Each row is of another subset than the last.
    mixed = torch.arange(0, len(rows), n_copies + 1).repeat(n_copies)[: len(rows)]
    batches = [rows_asked[:size] for rows_asked in (*pure, mixed) for size in BATCHES]
    return {name: rows[:, index] for index, name in enumerate(modalities)}, batches


def graph_inputs(
    head: TrainedHead,
    vectors: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    tokens: Mapping[str, ProductTokens],
) -> dict[str, Tensor]:
    """Return what a graph takes, by its inputs' names."""
    inputs = dict(vectors) | {f"{name}_present": mask for name, mask in present.items()}
    for name, states in tokens.items():
        batch = states.batch(head.description.n_positions.get(name) or max(SHORTEST, int(states.counts.max())))
        inputs |= {f"{name}_tokens": batch.values, f"{name}_token_mask": batch.is_there}
    return inputs
