"""Which things are connected, directly or through others."""

from __future__ import annotations

import numpy as np

__all__ = ["firsts_connected"]


def firsts_connected(left: np.ndarray, right: np.ndarray, n_things: int) -> np.ndarray:
    """Return for each thing the first of those that it is connected to, itself where none is before, (n_things,) int64.

    A graph is made of the things alone that are in a pair with another: of most catalogues few are.

    Shape:
        left, right: (P,) int64, the two things of each pair
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    firsts = np.arange(n_things)
    is_pair = left != right
    left, right = left[is_pair], right[is_pair]
    in_pair = np.zeros(n_things, dtype=bool)
    in_pair[left] = in_pair[right] = True
    nodes = np.flatnonzero(in_pair)
    numbers = np.cumsum(in_pair) - 1
    graph = coo_array((np.ones(len(left), dtype=bool), (numbers[left], numbers[right])), shape=(len(nodes), len(nodes)))
    n_sets, sets = connected_components(graph, directed=False)
    first_of_set = np.empty(n_sets, dtype=np.int64)
    first_of_set[sets[::-1]] = nodes[::-1]  # the first node of a set is written last
    firsts[nodes] = first_of_set[sets]
    return firsts
