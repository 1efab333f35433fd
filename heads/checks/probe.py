"""The head under check, built as often as a check needs it, and the rows that are drawn for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heads.data.tokens import TokenBatch

__all__ = ["DrawnRows", "Subject", "answer", "arguments", "change"]

N_WARM_STEPS = 8
MOST_STATES = 5  # tokens of a row, for modalities where rows have different numbers of them


@dataclass(frozen=True)
class DrawnRows:
    """Random rows as a head gets them.

    Shape:
        inputs: {modality: (B, D) float32}, zeros where absent
        present: {modality: (B,) bool}
        tokens: {modality: TokenBatch of (B, L, D)}, of the modalities whose tokens the head looks at
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    tokens: Mapping[str, TokenBatch]

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    def take(self, rows: Tensor) -> DrawnRows:
        """Return some of the rows; their tokens are padded to the longest of these, as they are in use."""
        tokens = {}
        for name, (values, mask) in self.tokens.items():
            length = int(mask[rows].sum(1).max())
            tokens[name] = TokenBatch(values[rows, :length], mask[rows, :length])
        return DrawnRows(
            {name: vectors[rows] for name, vectors in self.inputs.items()},
            {name: mask[rows] for name, mask in self.present.items()},
            tokens,
        )

    def filled(self, value: float) -> DrawnRows:
        """Return the rows with `value` wherever there is nothing: in absent vectors and in the tokens' padding."""
        return replace(
            self,
            inputs={
                name: torch.where(self.present[name][:, None], vectors, value) for name, vectors in self.inputs.items()
            },
            tokens={
                name: TokenBatch(torch.where(mask[:, :, None], values, value), mask)
                for name, (values, mask) in self.tokens.items()
            },
        )

    def wild(self, n_kept: int) -> DrawnRows:
        """Return the rows with all but the first few a hundred times as large, and of the other sign."""
        factor = torch.where(torch.arange(len(self)) < n_kept, 1.0, -100.0)[:, None]  # (B, 1)
        return replace(
            self,
            inputs={name: vectors * factor for name, vectors in self.inputs.items()},
            tokens={
                name: TokenBatch(states * factor[:, :, None], mask) for name, (states, mask) in self.tokens.items()
            },
        )

    def without_any(self) -> DrawnRows:
        """Return the rows with no modality present."""
        return DrawnRows(
            self.inputs,
            {name: torch.zeros_like(mask) for name, mask in self.present.items()},
            {name: TokenBatch(values, torch.zeros_like(mask)) for name, (values, mask) in self.tokens.items()},
        )

    def with_part_of(self, source: DrawnRows, part: str, modality: str) -> DrawnRows:
        """Return the rows with one modality's `inputs` or `tokens` taken from other rows."""
        return replace(self, **{part: {**getattr(self, part), modality: getattr(source, part)[modality]}})


@dataclass(frozen=True)
class Subject:
    """A head by its builder, ``build(dims, n_classes=K)``; the same seed gives the same heads and rows."""

    build: Callable[..., nn.Module]
    dims: Mapping[str, int]
    n_classes: int
    seed: int = 0
    token_dims: Mapping[str, int] = field(default_factory=dict)
    n_positions: Mapping[str, int] = field(default_factory=dict)  # modality -> tokens, where all rows have as many

    def fresh(self, *, with_other_weights: bool = False) -> nn.Module:
        """Return an untrained head, always of the same initial weights, or of other ones."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed + with_other_weights)
            return self.build(dict(self.dims), n_classes=self.n_classes)

    def warm(self) -> nn.Module:
        """Return a head in evaluation mode after a few steps of training, the same each time.

        Layers that begin with zeros have woken up by then, and batch norm has statistics of its own.
        """
        try:
            return copy.deepcopy(self._warm)
        except Exception:  # noqa: BLE001 - the class is the user's, and nothing says that it can be copied
            return self._train()

    @cached_property
    def _warm(self) -> nn.Module:
        return self._train()

    def _train(self) -> nn.Module:
        head = self.fresh().train()
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            torch.default_generator.manual_seed(self.seed)
            parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
            optimiser = torch.optim.AdamW(parameters, lr=1e-3, fused=True) if parameters else None
            for step in range(N_WARM_STEPS):
                rows = self.rows(32, draw=100 + step, absent=0.3 * (step % 2))
                loss = F.cross_entropy(head(*arguments(rows)), self.labels(32, draw=step))
                if optimiser and loss.requires_grad:
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
        return head.eval()

    def labels(self, n_rows: int, *, draw: int = 0) -> Tensor:
        """Return random classes, (n_rows,) int64."""
        return torch.randint(self.n_classes, (n_rows,), generator=self.generator(draw))

    def rows(self, n_rows: int, *, draw: int = 0, absent: float = 0.0) -> DrawnRows:
        """Return random rows; each lacks each modality with the probability `absent`, but never all of them."""
        generator = self.generator(draw)
        present = {name: torch.rand(n_rows, generator=generator) >= absent for name in sorted(self.dims)}
        present[min(present)] |= ~torch.stack(list(present.values())).any(0)
        inputs = {
            name: torch.randn(n_rows, dim, generator=generator) * present[name][:, None]
            for name, dim in sorted(self.dims.items())
        }
        tokens = {}
        for name, dim in sorted(self.token_dims.items()):
            longest = self.n_positions.get(name, MOST_STATES)
            counts = torch.randint(1, longest + 1, (n_rows, 1), generator=generator)
            if name in self.n_positions:
                counts[:] = longest
            mask = (torch.arange(longest) < counts) & present[name][:, None]  # (B, L)
            values = torch.randn(n_rows, longest, dim, generator=generator)
            tokens[name] = TokenBatch(torch.where(mask[:, :, None], values, 0.0), mask)
        return DrawnRows(inputs, present, tokens)

    def generator(self, draw: int) -> torch.Generator:
        """Return the random numbers of one draw."""
        return torch.Generator().manual_seed(1_000 * self.seed + draw)


def arguments(rows: DrawnRows) -> list[dict]:
    """Return what the head is called with: copies, for it may write into them."""
    parts: list[dict] = [{name: part[name].clone() for name in part} for part in (rows.inputs, rows.present)]
    return parts + ([dict(rows.tokens)] if rows.tokens else [])


@torch.inference_mode()
def answer(head: nn.Module, rows: DrawnRows) -> Tensor:
    """Return the head's logits as it gives them in use, (B, K)."""
    return head(*arguments(rows))


def change(answers: Tensor, changed_answers: Tensor) -> Tensor:
    """Return by how much each row's answer changed, relative to the largest of all answers.

    Shape:
        answers, changed_answers: (B, K)
        output: (B,), infinite where only one of both is finite
    """
    scale = answers.abs().amax().clamp_min(torch.finfo(torch.float32).tiny)
    return ((answers - changed_answers).abs().amax(1) / scale).nan_to_num(torch.inf, posinf=torch.inf)
