"""L-BFGS on a stack: many independent smooth problems are minimised at once, each as if it were alone.

The method is that of Nocedal & Wright, Numerical Optimization, algorithms 7.4 and 7.5. All problems of the stack take
their steps together, so that one call of the objective serves all of them, in one large matrix product where the
objective has one; who is done leaves the stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from heads.errors import HeadError

__all__ = ["Minima", "Objective", "minimise"]

Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points (A, P), problems (A,) int64) -> (values (A,), gradients (A, P)), for the A problems that are not done."""

SUFFICIENT_DECREASE = 1e-4  # of the decrease that the slope promises (Armijo)
ROUNDING = 1e-6  # of a value: a rise that rounding may explain, where the slope says that there is none
N_TRIALS = 25  # of a step's length, before the direction is given up
N_STALLED = 10  # steps without a lower value or a smaller gradient, before a problem is left as it is


@dataclass(frozen=True)
class Minima:
    """Where each of the J problems ended.

    Shape:
        points: (J, P)
        values, steepest, n_steps, converged: (J,); the largest absolute entry of the gradient is `steepest`
    """

    points: Tensor
    values: Tensor
    steepest: Tensor
    n_steps: Tensor
    converged: Tensor


@dataclass(frozen=True)
class _Pair:
    """How gradients changed along a step: what is known of the curvature."""

    steps: Tensor  # (A, P)
    changes: Tensor  # (A, P)
    inverses: Tensor  # (A,), 1 / (step . change), or 0 for a problem whose pair tells nothing

    def of(self, kept: Tensor) -> _Pair:
        return _Pair(self.steps[kept], self.changes[kept], self.inverses[kept])


@dataclass
class _Stack:
    """The A problems that are not done."""

    problems: Tensor  # (A,) int64
    points: Tensor  # (A, P)
    values: Tensor  # (A,)
    gradients: Tensor  # (A, P)
    pairs: deque[_Pair]  # the newest is the last
    scales: Tensor  # (A,), of the inverse Hessian that the pairs correct
    smallest: Tensor  # (A,), the norm of the smallest gradient so far
    n_stalled: Tensor  # (A,) int64
    is_stuck: Tensor  # (A,) bool

    def keep(self, kept: Tensor) -> None:
        for name in ("problems", "points", "values", "gradients", "scales", "smallest", "n_stalled", "is_stuck"):
            setattr(self, name, getattr(self, name)[kept])
        self.pairs = deque((pair.of(kept) for pair in self.pairs), maxlen=self.pairs.maxlen)

    def forget(self, whose: Tensor) -> None:
        self.pairs = deque(
            (_Pair(pair.steps, pair.changes, pair.inverses.masked_fill(whose, 0)) for pair in self.pairs),
            maxlen=self.pairs.maxlen,
        )
        self.scales = self.scales.masked_fill(whose, 1)

    def is_fresh(self) -> Tensor:
        """Return which problems know nothing of their curvature, (A,) bool."""
        if not self.pairs:
            return torch.ones_like(self.is_stuck)
        return torch.stack([pair.inverses for pair in self.pairs]).eq(0).all(0)


@torch.no_grad()
def minimise(
    objective: Objective,
    start: Tensor,
    *,
    tolerance: float = 1e-5,
    max_steps: int = 500,
    history_size: int = 10,
) -> Minima:
    """Return the minimum of each of J independent problems, found by L-BFGS from `start`.

    A problem is done when no entry of its gradient is larger than `tolerance`. It is left unconverged after
    `max_steps`, or when rounding hides every further decrease. The objective may return values of a wider type than
    the points'; all else is in the points' type and on their device.

    Shape:
        start: (J, P) float32 or float64

    Raises:
        HeadError: the objective is not finite at the start.

    >>> found = minimise(lambda points, _: ((points - 3).square().sum(1), 2 * (points - 3)), torch.zeros(2, 4))
    >>> found.points[0], found.converged
    (tensor([3., 3., 3., 3.]), tensor([True, True]))
    """
    n_problems = len(start)
    problems = torch.arange(n_problems, device=start.device)
    values, gradients = objective(start, problems)
    if not (values.isfinite().all() and gradients.isfinite().all()):
        raise HeadError("The objective must be finite where the search starts, however it is not. Check the inputs.")
    zeros = torch.zeros_like(problems)
    stack = _Stack(
        problems=problems, points=start, values=values, gradients=gradients, pairs=deque(maxlen=history_size),
        scales=start.new_ones(n_problems), smallest=gradients.norm(dim=1), n_stalled=zeros, is_stuck=zeros.bool(),
    )  # fmt: skip
    found = Minima(start.clone(), values.clone(), start.new_zeros(n_problems), zeros.clone(), zeros.bool())
    for n_steps in range(max_steps + 1):
        steepest = stack.gradients.abs().amax(1)  # (A,)
        is_done = (steepest <= tolerance) | stack.is_stuck | (n_steps == max_steps)
        if is_done.any():
            who = stack.problems[is_done]
            found.points[who], found.values[who] = stack.points[is_done], stack.values[is_done]
            found.steepest[who], found.n_steps[who] = steepest[is_done], n_steps
            found.converged[who] = steepest[is_done] <= tolerance
            stack.keep(~is_done)
        if not len(stack.problems):
            break
        _step(objective, stack)
    return found


def _step(objective: Objective, stack: _Stack) -> None:
    """Move every problem of the stack by one step, or find that it is stuck."""
    directions = _directions(stack)
    slopes = _dot(stack.gradients, directions)
    floor = torch.finfo(slopes.dtype).eps * stack.gradients.norm(dim=1) * directions.norm(dim=1)
    is_uphill = ~(slopes < -floor)  # not a number counts as uphill
    if is_uphill.any():
        stack.forget(is_uphill)
        directions = torch.where(is_uphill[:, None], -stack.gradients, directions)
        slopes = _dot(stack.gradients, directions)
    is_fresh = stack.is_fresh()
    lengths = torch.where(is_fresh, (1 / directions.norm(dim=1)).clamp_max(1), 1.0)
    points, values, gradients, is_found = _search(objective, stack, directions, slopes, lengths)
    is_lower = stack.values - values > torch.finfo(points.dtype).eps * stack.values.abs()
    norms = gradients.norm(dim=1)
    stack.n_stalled = torch.where(is_lower | (norms < stack.smallest), 0, stack.n_stalled + 1)
    stack.smallest = torch.minimum(stack.smallest, norms)
    stack.is_stuck = (~is_found & is_fresh) | (stack.n_stalled >= N_STALLED)
    steps, changes = points - stack.points, gradients - stack.gradients
    products, squares = _dot(steps, changes), _dot(changes, changes)
    is_told = products > torch.finfo(points.dtype).eps * steps.norm(dim=1) * squares.sqrt()
    stack.scales = torch.where(is_told, products / squares, stack.scales)
    stack.pairs.append(_Pair(steps, changes, torch.where(is_told, 1 / products, 0.0)))
    stack.points, stack.values, stack.gradients = points, values, gradients
    if not is_found.all():
        stack.forget(~is_found)  # the next direction is the steepest one


def _directions(stack: _Stack) -> Tensor:
    """Return minus the inverse Hessian times the gradient, by the two-loop recursion (algorithm 7.4), (A, P)."""
    remainders = stack.gradients.clone()
    shares = []
    for pair in reversed(stack.pairs):
        share = pair.inverses * _dot(pair.steps, remainders)
        remainders.addcmul_(pair.changes, share[:, None], value=-1)
        shares.append(share)
    directions = remainders.mul_(stack.scales[:, None])
    for pair, share in zip(stack.pairs, reversed(shares), strict=True):
        directions.addcmul_(pair.steps, (share - pair.inverses * _dot(pair.changes, directions))[:, None])
    return directions.neg_()


def _search(
    objective: Objective, stack: _Stack, directions: Tensor, slopes: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return points along the directions that are low enough, their values and gradients, and who found one.

    Lengths are shortened until the decrease is sufficient, or, where rounding hides the decrease, until the slope says
    that it is (the approximate Wolfe condition of Hager & Zhang, SIAM J. Optim. 16 (2005), eq. 4.1).
    """
    points, values, gradients = stack.points.clone(), stack.values.clone(), stack.gradients.clone()
    looking = torch.arange(len(points), device=points.device)
    for _ in range(N_TRIALS):
        tried = torch.addcmul(stack.points[looking], directions[looking], lengths[:, None])
        their_values, their_gradients = objective(tried, stack.problems[looking])
        promised, before = slopes[looking], stack.values[looking]
        slope = _dot(their_gradients, directions[looking])
        is_low = their_values <= before + SUFFICIENT_DECREASE * lengths * promised
        is_level = their_values <= before + ROUNDING * before.abs()
        is_flat = slope <= (2 * SUFFICIENT_DECREASE - 1) * promised
        is_good = (is_low | (is_level & is_flat)) & their_values.isfinite() & slope.isfinite()
        found = looking[is_good]
        points[found], values[found], gradients[found] = tried[is_good], their_values[is_good], their_gradients[is_good]
        looking = looking[~is_good]
        if not len(looking):
            break
        # Where the slope would be 0, were it linear in the length; carefully so.
        shorter = torch.nan_to_num(promised / (promised - slope), nan=0.1).clamp(0.1, 0.5)
        lengths = (lengths * torch.where(slope > 0, shorter, torch.where(slope.isfinite(), 0.5, 0.1)))[~is_good]
    is_found = torch.ones(len(points), dtype=torch.bool, device=points.device)
    is_found[looking] = False
    return points, values, gradients, is_found


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.vecdot(left, right)  # (A,)
