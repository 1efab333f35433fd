"""The k nearest neighbours: a head that stores its training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.compiler import is_exporting

from heads.errors import SettingError
from heads.metrics.scores import log_loss, scores
from heads.modules.description import HeadDescription
from heads.modules.fitting.rows_to_fit import RowsToFit, take_rows
from heads.modules.fitting.unseen_classes import LEAST_LOG_PROBABILITY
from heads.modules.parts.directions import Directions

__all__ = ["Neighbours", "NeighboursFit", "build", "fit", "fit_neighbours"]

STORED_AT_ONCE, QUERIES_AT_ONCE = 16_384, 1_024  # rows: similarities are computed in blocks of so many
MOST_COPIES, MOST_STORED = 100, 100_000  # of each row and in all: as few rows may count more
SHARE_OF_SHARES = 0.01  # of the classes' shares in the answer, so that a class without a vote is never ruled out


class Neighbours(nn.Module):
    """Classify by the vote of the k training rows of most similar direction, as DINO does (arXiv 2104.14294).

    A neighbour's voice is the softmax of its cosine similarity over a temperature. A row that has nothing gets the
    classes' shares of the training rows. Directions are stored in half precision, which moves a similarity by some
    1e-5. Memory is bounded, however many rows are stored or answered.

    Shape:
        inputs: {modality: (B, D_modality)} float32, standardised
        present: {modality: (B,)} bool
        output: (B, K) log-probabilities
    """

    def __init__(
        self, dims: Mapping[str, int], *, n_classes: int, n_rows: int, dtype: torch.dtype = torch.float16
    ) -> None:
        super().__init__()
        self.directions = Directions(dims)
        self.register_buffer("stored", torch.zeros(n_rows, sum(dims.values()), dtype=dtype))
        self.register_buffer("stored_codes", torch.zeros(n_rows, dtype=torch.int64))
        self.register_buffer("shares", torch.full((n_classes,), 1 / n_classes))
        self.register_buffer("n_neighbours", torch.ones((), dtype=torch.int64))
        self.register_buffer("temperature", torch.ones(()))
        self.n_exported: int | None = None  # in a graph the number of neighbours is a constant

    def before_export(self) -> None:
        """Make a constant of the number of neighbours, which decides about shapes."""
        self.n_exported = int(self.get_buffer("n_neighbours"))

    def nearest(self, directions: Tensor, n_neighbours: int) -> tuple[Tensor, Tensor]:
        """Return the similarities and targets of the nearest stored rows, the nearest first, (B, k) each."""
        best = directions.new_full((directions.shape[0], 0), 0.0)
        targets = torch.zeros_like(best, dtype=torch.int64)
        for stored, stored_targets in zip(
            self.get_buffer("stored").split(STORED_AT_ONCE),
            self.get_buffer("stored_codes").split(STORED_AT_ONCE),
            strict=True,
        ):
            keys = stored.to(directions.dtype)
            blocks = []
            for queries, old_best, old_targets in zip(*map(_blocks, (directions, best, targets)), strict=True):
                new_best, positions = (queries @ keys.T).topk(min(n_neighbours, len(keys)), dim=1)
                both = torch.cat([old_best, new_best], 1)
                both_targets = torch.cat([old_targets, stored_targets[positions]], 1)
                values, positions = both.topk(min(n_neighbours, both.shape[1]), dim=1)
                blocks.append((values, both_targets.gather(1, positions)))
            best, targets = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        return best, targets

    def vote(self, similarities: Tensor, targets: Tensor, temperature: Tensor | float) -> Tensor:
        """Return the classes' log-probabilities from the similarities and targets of each row's neighbours, (B, K)."""
        shares = self.get_buffer("shares")
        voices = (similarities / temperature).softmax(1)  # (B, k)
        votes = voices.new_zeros(voices.shape[0], len(shares)).scatter_add_(1, targets, voices)
        return torch.lerp(votes, shares, SHARE_OF_SHARES).log().clamp_min(LEAST_LOG_PROBABILITY)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        n_neighbours = self.n_exported or int(self.get_buffer("n_neighbours"))
        nearest = self.nearest(self.directions(inputs, present), n_neighbours)
        answers = self.vote(*nearest, self.get_buffer("temperature"))
        has_any = torch.stack([present[name] for name in self.directions.modalities]).any(0)
        shares = self.get_buffer("shares").log().clamp_min(LEAST_LOG_PROBABILITY)
        return torch.where(has_any[:, None], answers, shares)


def _blocks(rows: Tensor) -> Sequence[Tensor]:
    """Return rows in blocks that bound memory; as one in an exported graph, which takes any number of them."""
    return [rows] if is_exporting() else rows.split(QUERIES_AT_ONCE)


@dataclass(frozen=True)
class NeighboursFit:
    """The head, and what its validation rows chose."""

    module: Neighbours
    n_neighbours: int
    temperature: float
    macro_f1: float
    log_loss: float


@torch.no_grad()
def fit_neighbours(
    inputs: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    targets: Tensor,
    *,
    n_classes: int,
    train: Tensor,
    validation: Tensor,
    sample_weights: Tensor | None = None,
    n_neighbours: Sequence[int] = (5, 10, 20, 50, 100, 200),
    temperatures: Sequence[float] = (0.01, 0.03, 0.07, 0.2),
    dtype: torch.dtype = torch.float16,
) -> NeighboursFit:
    """Return the head whose k and temperature have the best macro-F1 on the validation rows; ties go to the log loss.

    The neighbours of the validation rows are looked up once, for all k and temperatures. Training rows that have
    nothing are not stored; the others are, as often as they count.

    Shape:
        inputs: {modality: (N, D_modality)} float32, standardised
        present: {modality: (N,)} bool
        targets: (N,) int64
        train, validation: (n,) int64
        sample_weights: (N,) float64, how often each row counts; None: once

    Raises:
        SettingError: a number of neighbours or a temperature is not positive, a training row does not count a whole
            number of times, or none has anything.
    """
    if min(n_neighbours, default=0) < 1 or not min(temperatures, default=0) > 0:
        raise SettingError(
            f"Expected numbers of neighbours and temperatures to be positive, got {list(n_neighbours)} and "
            f"{list(temperatures)}."
        )
    has_any = torch.stack([present[name] for name in inputs]).any(0)
    train, validation = train[has_any[train]], validation[has_any[validation]]
    if not len(train):
        raise SettingError("Expected some training rows to have a vector, but none has. Choose other modalities.")
    train = _as_often_as_they_count(train, sample_weights)
    dims = {name: inputs[name].shape[1] for name in inputs}
    module = Neighbours(dims, n_classes=n_classes, n_rows=len(train), dtype=dtype).to(targets.device).eval()
    module.directions.fit(inputs, present, train)

    def directions_of(rows: Tensor) -> Tensor:
        return module.directions(*take_rows(inputs, present, rows))

    for start in range(0, len(train), STORED_AT_ONCE):
        block = slice(start, start + STORED_AT_ONCE)
        module.get_buffer("stored")[block] = directions_of(train[block]).to(dtype)
    module.get_buffer("stored_codes").copy_(targets[train])
    module.get_buffer("shares").copy_(torch.bincount(targets[train], minlength=n_classes) / len(train))

    similarities, neighbours = module.nearest(directions_of(validation), max(n_neighbours))
    labels = targets[validation].cpu().numpy()
    weights = None if sample_weights is None else sample_weights[validation].cpu().numpy()
    tried = []
    for k in sorted({min(k, similarities.shape[1]) for k in n_neighbours}):
        for temperature in sorted(temperatures):
            answers = module.vote(similarities[:, :k], neighbours[:, :k], temperature).exp().cpu().numpy()
            macro_f1 = scores(labels, answers.argmax(1), n_classes, weights)["macro_f1"]
            tried.append(NeighboursFit(module, k, temperature, macro_f1, log_loss(answers, labels, weights)))
    best = max(tried, key=lambda fit: (fit.macro_f1, -fit.log_loss))  # the first of equals
    module.get_buffer("n_neighbours").fill_(best.n_neighbours)
    module.get_buffer("temperature").fill_(best.temperature)
    return best


def _as_often_as_they_count(rows: Tensor, sample_weights: Tensor | None) -> Tensor:
    """Return the rows, each as often as its weight says: one of weight 2 is two of the nearest.

    Raises:
        SettingError: a weight is not a whole number, or more rows would be stored than a head should hold.
    """
    if sample_weights is None:
        return rows
    weights = sample_weights[rows]
    if not weights.equal(weights.round()):
        raise SettingError(
            "Expected sample_weight to be whole numbers for neighbours, which stores a row as often as it counts, got "
            f"{float(weights[weights != weights.round()][0]):g}. Round them, or take another head."
        )
    if weights.sum() > max(MOST_COPIES * len(rows), MOST_STORED):
        raise SettingError(
            f"Expected sample_weight to be small whole numbers for neighbours, which stores a row as often as it "
            f"counts, got {len(rows)} rows of {weights.sum():g} altogether. Divide them by what they have in common."
        )
    return rows.repeat_interleave(weights.long())


def build(description: HeadDescription, *, stack: tuple[int, ...]) -> nn.Module:  # noqa: ARG001 - it is fitted alone
    """Return the head, not fitted (`heads.head_types`)."""
    return Neighbours(description.dims, n_classes=description.n_classes, n_rows=description.n_stored)


def fit(rows: RowsToFit) -> tuple[nn.Module, dict[str, int]]:
    """Return the head fitted, and how many rows it stores (`heads.head_types`)."""
    module = fit_neighbours(*rows.vectors_and_targets, **rows.sides).module
    return module, {"n_stored": len(module.get_buffer("stored"))}
