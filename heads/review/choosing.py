"""Which rows are asked for: the middles of clusters while nothing is known, then what the head is least sure of.

Cluster centres to begin with, uncertain rows later, and both spread by k-means: arXiv 2401.14555.
"""

from __future__ import annotations

import numpy as np

__all__ = ["choose_doubtful", "choose_typical", "doubts", "margins", "rarities"]

MOST_CLUSTERED = 20_000  # rows that clusters are made of; of more some are drawn
POOL = 4  # times as many doubtful rows are looked at as are asked for
LEAST_POOL = 500
MOST_STEPS = 20  # of k-means
CLUSTERED_DIM = 64  # directions of most variance in which clusters are looked for: the others cost time alone


def choose_typical(
    vectors: np.ndarray, rows: np.ndarray, n_wanted: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return those of the rows that are nearest to the centres of as many clusters of them, and the clusters' sizes.

    Shape:
        vectors: (N, D)
        rows: (n,) int64
        output: (n_wanted,) int64, that of the largest cluster first; (n_wanted,) int64
    """
    if len(rows) > MOST_CLUSTERED:
        rows = np.sort(generator.permutation(rows)[: max(MOST_CLUSTERED, 2 * n_wanted)])
    middles, sizes = _middles(vectors[rows], n_wanted, None, generator)
    return rows[middles], sizes


def choose_doubtful(
    vectors: np.ndarray, rows: np.ndarray, doubt: np.ndarray, n_wanted: int, generator: np.random.Generator
) -> np.ndarray:
    """Return those of the rows that are doubtful and unlike each other, (n_wanted,) int64, the most doubtful first.

    The most doubtful rows, four times as many as are wanted and 500 at least, make as many clusters as are wanted, in
    which each row weighs its doubt; the row nearest to each centre is taken.

    Shape:
        vectors: (N, D)
        rows: (n,) int64
        doubt: (n,) non-negative, of these rows
    """
    most = np.sort(np.argsort(-doubt, kind="stable")[: max(POOL * n_wanted, LEAST_POOL)])
    chosen = most[_middles(vectors[rows[most]], n_wanted, doubt[most], generator)[0]]
    return rows[chosen[np.argsort(-doubt[chosen], kind="stable")]]


def margins(probabilities: np.ndarray) -> np.ndarray:
    """Return how much more probable the likeliest class is than the next, (N,).

    >>> margins(np.array([[0.5, 0.25, 0.25]]))
    array([0.25])

    Shape:
        probabilities: (N, K), K at least 2
    """
    second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return first - second


def rarities(probabilities: np.ndarray, n_labelled: np.ndarray) -> np.ndarray:
    """Return how rare a row's class is expected to be among the labels, (N,) from 0 to 1.

    A class is as rare as the square root of its labels' number is small; the rarest is 1.

    Shape:
        probabilities: (N, K)
        n_labelled: (K,) int64, rows of each class that have a label
    """
    of_classes = 1 / np.sqrt(n_labelled + 1)
    return probabilities @ (of_classes / of_classes.max())


def doubts(probabilities: np.ndarray, n_labelled: np.ndarray) -> np.ndarray:
    """Return how much there is to learn from each row, (N,): a small margin, the more where its class is rare.

    Shape:
        probabilities: (N, K)
        n_labelled: (K,) int64
    """
    return (1 - margins(probabilities)) * (1 + rarities(probabilities, n_labelled))


def _middles(
    vectors: np.ndarray, n_wanted: int, weights: np.ndarray | None, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the place nearest to the centre of each cluster, and the clusters' sizes, the largest first.

    Where there are no more rows than clusters, each is one.
    """
    from sklearn.cluster import KMeans

    if len(vectors) <= n_wanted:
        return np.arange(len(vectors)), np.ones(len(vectors), dtype=np.int64)
    vectors = _main_directions(vectors)
    seed = int(generator.integers(2**31))
    n_clusters = min(n_wanted, len(np.unique(vectors, axis=0)))  # of equal rows there are no more
    model = KMeans(n_clusters, n_init=1, max_iter=MOST_STEPS, random_state=seed).fit(vectors, sample_weight=weights)
    distances = np.linalg.norm(vectors - model.cluster_centers_[model.labels_], axis=1)
    order = np.lexsort((distances, model.labels_))
    _, first, sizes = np.unique(model.labels_[order], return_index=True, return_counts=True)
    by_size = np.argsort(-sizes, kind="stable")
    return order[first][by_size], sizes[by_size]


def _main_directions(vectors: np.ndarray) -> np.ndarray:
    """Return the rows along the directions of most variance, (N, 64); as they are where they have no more.

    Shape:
        vectors: (N, D)
    """
    if vectors.shape[1] <= CLUSTERED_DIM:
        return vectors
    centred = vectors - vectors.mean(axis=0)
    return centred @ np.linalg.eigh(centred.T @ centred)[1][:, -CLUSTERED_DIM:]
