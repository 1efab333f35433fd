"""Many smooth problems are minimised at once, and each ends where SciPy's L-BFGS-B, or it alone, would."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from heads.errors import HeadError
from heads.modules.lbfgs import minimise

N_PROBLEMS, DIM = 5, 12


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_autograd(values_of):
    """Return the objective of a function of (points, problems) that gives values only."""

    @torch.enable_grad()
    def objective(points, problems):
        points = points.detach().requires_grad_()
        values = values_of(points, problems)
        return values.detach(), torch.autograd.grad(values.sum(), points)[0]

    return objective


def quadratics(condition=1e3):
    """Bowls with eigenvalues from 1 to `condition`, each turned and moved another way."""
    turns = torch.linalg.qr(drawn(N_PROBLEMS, DIM, DIM))[0]
    curvatures = torch.logspace(0, math.log10(condition), DIM, dtype=torch.float64)
    hessians = (turns * curvatures) @ turns.transpose(1, 2)
    centres = drawn(N_PROBLEMS, DIM, seed=1)

    def values_of(points, problems):
        away = points - centres[problems]
        return torch.einsum("ap,apq,aq->a", away, hessians[problems], away) / 2

    return values_of


def logistic_losses():
    vectors, answers = drawn(N_PROBLEMS, 60, DIM, seed=2), drawn(N_PROBLEMS, 60, seed=3).sign()

    def values_of(points, problems):
        margins = answers[problems] * torch.einsum("anp,ap->an", vectors[problems], points)
        return torch.nn.functional.softplus(-margins).mean(1) + 0.01 * points.square().sum(1)

    return values_of


def log_sum_exps():
    slopes, shifts = drawn(N_PROBLEMS, 40, DIM, seed=4), drawn(N_PROBLEMS, 40, seed=5)
    return lambda points, problems: torch.logsumexp(
        torch.einsum("anp,ap->an", slopes[problems], points) + shifts[problems], dim=1
    )


def barriers():
    """Minus the logarithm of a distance keeps out of half the space: there, values are not finite."""
    costs = drawn(N_PROBLEMS, DIM, seed=6).abs() + 0.1
    return lambda points, problems: (costs[problems] * (points + 1) - torch.log(points + 1)).sum(1)


CONVEX = {
    "quadratics": quadratics(),
    "logistic losses": logistic_losses(),
    "log-sum-exps": log_sum_exps(),
    "barriers": barriers(),
}
every_problem = pytest.mark.parametrize("values_of", CONVEX.values(), ids=CONVEX.keys())


def from_scipy(values_of, problem):
    objective = by_autograd(values_of)

    def alone(point):
        value, gradient = objective(torch.from_numpy(point)[None], torch.tensor([problem]))
        return float(value), gradient[0].numpy()

    options = {"gtol": 1e-9, "ftol": 1e-16, "maxiter": 5000}
    inside = [(-1 + 1e-9, None)] * DIM if values_of is CONVEX["barriers"] else None
    return minimize(alone, np.zeros(DIM), jac=True, method="L-BFGS-B", options=options, bounds=inside)


@every_problem
def test_every_problem_ends_where_scipy_ends(values_of):
    found = minimise(by_autograd(values_of), torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64), tolerance=1e-8)
    assert found.converged.all()
    assert (found.steepest <= 1e-8).all()
    expected = np.stack([from_scipy(values_of, problem).x for problem in range(N_PROBLEMS)])
    np.testing.assert_allclose(found.points, expected, rtol=1e-5, atol=1e-5)


@every_problem
def test_every_problem_ends_where_it_would_alone(values_of):
    objective = by_autograd(values_of)
    start = torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64)
    found = minimise(objective, start, tolerance=1e-7)
    for problem in range(N_PROBLEMS):

        def alone(points, _, problem=problem):
            return objective(points, torch.full((len(points),), problem))

        solo = minimise(alone, start[:1], tolerance=1e-7)
        assert abs(int(solo.n_steps) - int(found.n_steps[problem])) <= 2  # sums of another order may part late
        torch.testing.assert_close(found.points[problem], solo.points[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(found.values[problem], solo.values[0])


def test_steps_are_about_as_many_as_scipy_s():
    values_of = CONVEX["quadratics"]
    found = minimise(by_autograd(values_of), torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64), tolerance=1e-9)
    n_steps = [from_scipy(values_of, problem).nit for problem in range(N_PROBLEMS)]
    assert found.converged.all()
    assert found.n_steps.sum() < 1.2 * sum(n_steps)


def test_small_gradient_is_reached_where_rounding_hides_that_values_fall():
    bowls = quadratics()
    noise = torch.Generator().manual_seed(0)

    def values_of(points, problems):
        return bowls(points, problems) + 1 + 1e-8 * torch.rand(len(points), generator=noise)

    found = minimise(by_autograd(values_of), torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64), tolerance=1e-6)
    assert found.converged.all()


@every_problem
def test_single_precision_ends_near_the_minimum(values_of):
    wide = minimise(by_autograd(values_of), torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64), tolerance=1e-8)
    single = by_autograd(lambda points, problems: values_of(points.double(), problems))
    found = minimise(single, torch.zeros(N_PROBLEMS, DIM), tolerance=1e-4)
    assert found.points.dtype == torch.float32
    assert found.converged.all()
    torch.testing.assert_close(found.points.double(), wide.points, rtol=5e-3, atol=5e-3)


def test_who_is_done_leaves_the_stack():
    seen = []
    bowls = by_autograd(quadratics())

    def objective(points, problems):
        seen.append(problems.tolist())
        return bowls(points, problems)

    start = torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64)
    start[3] = minimise(bowls, start, tolerance=1e-8).points[3]  # is done before it starts
    found = minimise(objective, start, tolerance=1e-6)
    assert found.converged.all()
    assert found.n_steps[3] == 0
    assert seen[0] == [0, 1, 2, 3, 4]
    assert all(3 not in problems for problems in seen[1:])
    assert len(seen[-1]) < len(seen[1])


def test_valley_that_bends_is_followed_to_its_end():
    """Rosenbrock's function is not convex on the way."""
    objective = by_autograd(
        lambda points, _: (100 * (points[:, 1:] - points[:, :-1] ** 2) ** 2 + (1 - points[:, :-1]) ** 2).sum(1)
    )
    start = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [2.0, -3.0]], dtype=torch.float64)
    found = minimise(objective, start, tolerance=1e-8)
    assert found.converged.all()
    torch.testing.assert_close(found.points, torch.ones(3, 2, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_problem_without_an_end_does_not_hold_up_the_others():
    objective = by_autograd(
        lambda points, problems: torch.where(problems == 1, points.sum(1), (points - 1).square().sum(1))
    )
    found = minimise(objective, torch.zeros(3, 2, dtype=torch.float64), max_steps=40)
    assert found.converged.tolist() == [True, False, True]
    assert found.n_steps[1] == 40
    torch.testing.assert_close(found.points[::2], torch.ones(2, 2, dtype=torch.float64))


def test_wrong_gradient_ends_the_search():
    def objective(points, _):
        return points.square().sum(1), -2 * points

    found = minimise(objective, torch.ones(2, 3))
    assert not found.converged.any()
    torch.testing.assert_close(found.points, torch.ones(2, 3))
    assert (found.n_steps <= 10).all()


def test_more_steps_are_not_taken_than_allowed():
    found = minimise(
        by_autograd(quadratics(1e5)), torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64), tolerance=1e-9, max_steps=3
    )
    assert found.n_steps.tolist() == [3] * N_PROBLEMS
    assert not found.converged.any()


def test_start_is_left_as_it_was():
    start = torch.zeros(N_PROBLEMS, DIM, dtype=torch.float64)
    minimise(by_autograd(quadratics()), start)
    assert (start == 0).all()


def test_values_that_are_not_finite_at_the_start_are_an_error():
    with pytest.raises(HeadError, match="must be finite where the search starts"):
        minimise(by_autograd(lambda points, _: points.log().sum(1)), torch.zeros(2, 3))
