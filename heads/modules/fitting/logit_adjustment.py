"""Post-hoc logit adjustment: so much less for a class as it is common, as far as that helps the validation rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from heads.errors import HeadError
from heads.metrics.scores import scores

__all__ = ["fit_strength", "shift_logits"]

STRENGTHS = tuple(n / 10 for n in range(21))  # 1 is what a head that is calibrated would need for balanced accuracy
SAME = 1e-3  # in log-probability


def fit_strength(log_probabilities: Tensor, targets: np.ndarray, log_shares: Tensor) -> float:
    """Return how many times the logarithms of the classes' shares are to be taken from a head's logits.

    That of the best macro-F1 (arXiv 2007.07314, section 4.2, with the strength as its tau); of equals the least.

    Shape:
        log_probabilities: (n, K)
        targets: (n,) int64
        log_shares: (K,), of the training rows

    >>> logs = torch.tensor([[0.7, 0.3], [0.7, 0.3], [0.6, 0.4]]).log()
    >>> fit_strength(logs, np.array([0, 0, 1]), torch.tensor([0.8, 0.2]).log())
    0.3
    """

    def macro_f1(strength: float) -> float:
        answers = (log_probabilities - strength * log_shares).argmax(1).numpy()
        return scores(targets, answers, len(log_shares))["macro_f1"]

    return max(STRENGTHS, key=macro_f1)


def shift_logits(module: nn.Module, shifts: Tensor, answer: Callable[[], Tensor]) -> None:
    """Add the shifts to a head's logits, for good: to the bias that it ends in.

    Nothing else of the head changes, so that it is saved, exported and called as before. `answer` returns the head's
    log-probabilities for some rows, (n, K), by which the change is tried.

    Shape:
        shifts: (K,)

    Raises:
        HeadError: there is no bias whose change does that.
    """
    expected = torch.log_softmax(answer() + shifts, dim=1)
    for name, bias in reversed(list(module.named_parameters())):
        if not name.endswith("bias") or bias.shape != shifts.shape:
            continue
        original = bias.detach().clone()
        with torch.no_grad():
            bias.add_(shifts)
        if torch.allclose(answer(), expected, rtol=0, atol=SAME):
            return
        with torch.no_grad():
            bias.copy_(original)
    raise HeadError(
        "--logit-adjustment auto: expected a head that ends in a linear layer with a bias, got "
        f"{type(module).__name__}. Give a number, which adjusts in training, or leave the head out."
    )
