"""AdamW for a stack of heads, each with a weight decay, a learning rate, and its share at a step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from heads.device import to_device

__all__ = ["StackedAdamW"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class StackedAdamW:
    """Decoupled weight decay (arXiv 1711.05101) over tensors of J heads each; neighbours of equal rates step at once.

    torch's optimisers know one rate for a tensor, and a group for each head would cost more than its step.

    Shape:
        parameters: (J, ...) each
        learning_rates, weight_decays: J numbers
    """

    def __init__(
        self, parameters: Sequence[Tensor], *, learning_rates: Sequence[float], weight_decays: Sequence[float]
    ) -> None:
        self._averages = [torch.zeros_like(tensor, requires_grad=False) for tensor in parameters]
        self._squares = [torch.zeros_like(tensor, requires_grad=False) for tensor in parameters]
        self._n_steps = 0
        self._hold(parameters, list(zip(learning_rates, weight_decays, strict=True)))

    def _hold(self, parameters: Sequence[Tensor], rates: list[tuple[float, float]]) -> None:
        self._rates = rates
        self._runs = []
        start = 0
        for (rate, decay), run in groupby(rates):
            span = slice(start, start := start + len(list(run)))
            state = [[tensor.detach()[span] for tensor in side] for side in (parameters, self._averages, self._squares)]
            self._runs.append((span, rate, decay, state))

    @torch.no_grad()
    def step(self, grads: Sequence[Tensor], shares: Sequence[float]) -> None:
        """Move the parameters, in place: each head as far as its share of its learning rate takes it.

        All of a step but its moments is in proportion to the rate, so that neighbours of equal rates step at once
        whatever their shares are: the whole way, and then back to the share of it.

        Shape:
            grads: (J, ...) each, those of the parameters, in their order
            shares: J numbers, of the heads' learning rates
        """
        self._n_steps += 1
        n_steps = torch.full((), float(self._n_steps), device=self._averages[0].device)
        for span, rate, decay, (parameters, averages, squares) in self._runs:
            run_shares = shares[span]
            are_equal = all(share == run_shares[0] for share in run_shares)
            before = [] if are_equal else [tensor.clone() for tensor in parameters]
            grads_of_run = grads if len(self._runs) == 1 else [grad[span] for grad in grads]
            torch._fused_adamw_(
                parameters, list(grads_of_run), averages, squares, [], [n_steps] * len(parameters),
                amsgrad=False, maximize=False, beta1=BETA1, beta2=BETA2, eps=EPSILON,
                lr=rate * run_shares[0] if are_equal else rate, weight_decay=decay,
            )  # fmt: skip
            if not are_equal:
                fractions = to_device(torch.tensor(run_shares), parameters[0].device)  # (J,)
                for tensor, start in zip(parameters, before, strict=True):
                    tensor.copy_(start.lerp(tensor, fractions.view(-1, *[1] * (tensor.ndim - 1))))

    def keep(self, indices: Tensor, parameters: Sequence[Tensor]) -> None:
        """Keep the heads of these indices, (n,) int64, and drop the others; `parameters` are their new tensors."""
        self._averages = [tensor[indices] for tensor in self._averages]
        self._squares = [tensor[indices] for tensor in self._squares]
        self._hold(parameters, [self._rates[index] for index in indices.tolist()])
