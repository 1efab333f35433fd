"""Near points by grids are those that a comparison of every two gives, spread evenly or crowded in some places."""

import numpy as np
import pytest

import heads.data.splitting.near_points
from heads.data.splitting.near_points import near_pairs


def every_two(points, distance):
    """Return the near pairs in the plain way."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    return np.argwhere(np.triu(apart <= distance, k=1)).tolist()


@pytest.mark.parametrize("most_together", [2, 32])
@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 30.0])
def test_near_points_are_those_of_a_comparison_of_every_two(scale, most_together, monkeypatch):
    monkeypatch.setattr(heads.data.splitting.near_points, "MOST_TOGETHER", most_together)
    generator = np.random.default_rng(0)
    points = generator.standard_normal((150, 6)) * scale
    points = np.concatenate([points, points[:100] + generator.uniform(-0.03, 0.03, (100, 6)), points[:3]])
    assert sorted(near_pairs(points, 0.05).tolist()) == every_two(points, 0.05)


@pytest.mark.parametrize("slab_points", [1, 40])
def test_slabs_find_what_all_points_at_once_do(slab_points, monkeypatch):
    monkeypatch.setattr(heads.data.splitting.near_points, "SLAB_POINTS", slab_points)
    points = np.random.default_rng(1).uniform(0, 0.3, (160, 3))
    assert sorted(near_pairs(points, 0.05).tolist()) == every_two(points, 0.05)


@pytest.mark.parametrize("width", [0.0, 0.06, 1.0])
def test_no_point_is_looked_at_more_than_twice(width, monkeypatch):
    """As all would be in each slab, where an encoder gives all contents nearly one first coordinate."""
    n_points = []
    of_slab = heads.data.splitting.near_points._pairs_of_slab
    monkeypatch.setattr(heads.data.splitting.near_points, "SLAB_POINTS", 10)
    monkeypatch.setattr(
        heads.data.splitting.near_points,
        "_pairs_of_slab",
        lambda some, limit: n_points.append(len(some)) or of_slab(some, limit),
    )
    points = np.random.default_rng(2).uniform(0, 1, (120, 3)) * (width, 1, 1)
    assert sorted(near_pairs(points, 0.02).tolist()) == every_two(points, 0.02)
    assert sum(n_points) <= 2 * len(points)


@pytest.mark.parametrize("most_crowded", [0.01, 1.0])
def test_a_crowd_among_others_is_looked_through_by_a_tree(most_crowded, monkeypatch):
    monkeypatch.setattr(heads.data.splitting.near_points, "MOST_CROWDED", most_crowded)
    generator = np.random.default_rng(0)
    points = np.concatenate([generator.standard_normal((100, 3)), generator.normal(5, 0.01, (60, 3))])
    assert sorted(near_pairs(points, 0.02).tolist()) == every_two(points, 0.02)
