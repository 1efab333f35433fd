"""The connected components of a graph of pairs."""

from __future__ import annotations

import numpy as np

__all__ = ["first_in_component"]


def first_in_component(pairs: np.ndarray, n_nodes: int) -> np.ndarray:
    """Return the first node of each node's component: the lowest of all it is connected to, directly or through others.

    The graph is made only of the nodes that are in a pair with another: of most catalogues few are.

    Shape:
        pairs: (P, 2) int64, the two nodes of each
        output: (n_nodes,) int64; a node before which none is connected to it has itself
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    firsts = np.arange(n_nodes)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    in_pair = np.zeros(n_nodes, dtype=bool)
    in_pair[pairs] = True
    nodes = np.flatnonzero(in_pair)
    numbers = np.cumsum(in_pair) - 1  # of the nodes in the graph
    edges = tuple(numbers[pairs].T)
    graph = coo_array((np.ones(len(pairs), dtype=bool), edges), shape=(len(nodes), len(nodes)))
    n_components, components = connected_components(graph, directed=False)
    first_nodes = np.empty(n_components, dtype=np.int64)
    first_nodes[components[::-1]] = nodes[::-1]  # the first node of a component is written last
    firsts[nodes] = first_nodes[components]
    return firsts
