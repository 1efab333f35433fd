"""The choice of rows to label: the middles of clusters while no labels are known, then rows that a head is unsure of.

Cluster centres to begin with, uncertain rows later, and both spread by k-means: arXiv 2401.14555.
"""

from __future__ import annotations

import numpy as np

__all__ = ["choose_doubtful", "choose_typical", "doubts", "margins", "rarities"]

MOST_CLUSTERED = 20_000  # rows that clusters are made of; of more rows so many are drawn
POOL = 4  # doubtful rows that are clustered, for each row that is asked for
LEAST_POOL = 500
MOST_STEPS = 20  # of k-means
CLUSTERED_DIM = 64  # directions of most variance, in which clusters are looked for: more only take longer


def choose_typical(
    vectors: np.ndarray, rows: np.ndarray, n_wanted: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows nearest to the centres of `n_wanted` clusters of them, and the clusters' sizes.

    Shape:
        vectors: (N, D)
        rows: (n,) int64
        output: (n_wanted,) int64, the row of the largest cluster first; (n_wanted,) int64
    """
    if len(rows) > MOST_CLUSTERED:
        rows = np.sort(generator.permutation(rows)[: max(MOST_CLUSTERED, 2 * n_wanted)])
    nearest, sizes = _nearest_to_centres(vectors[rows], n_wanted, None, generator)
    return rows[nearest], sizes


def choose_doubtful(
    vectors: np.ndarray, rows: np.ndarray, doubt: np.ndarray, n_wanted: int, generator: np.random.Generator
) -> np.ndarray:
    """Return rows that are doubtful and unlike each other, (n_wanted,) int64, the most doubtful first.

    The most doubtful rows, `POOL` times as many as are wanted and `LEAST_POOL` at least, are clustered, weighted by
    their doubt, into as many clusters as are wanted; the row nearest to each centre is returned.

    Shape:
        vectors: (N, D)
        rows: (n,) int64
        doubt: (n,) non-negative, one for each of the rows
    """
    doubtful = np.sort(np.argsort(-doubt, kind="stable")[: max(POOL * n_wanted, LEAST_POOL)])
    chosen = doubtful[_nearest_to_centres(vectors[rows[doubtful]], n_wanted, doubt[doubtful], generator)[0]]
    return rows[chosen[np.argsort(-doubt[chosen], kind="stable")]]


def margins(probabilities: np.ndarray) -> np.ndarray:
    """Return how much more probable the likeliest class is than the next, (N,).

    >>> margins(np.array([[0.5, 0.25, 0.25]]))
    array([0.25])

    Shape:
        probabilities: (N, K), K at least 2
    """
    second_highest, highest = np.partition(probabilities, -2, axis=1)[:, -2:].T
    return highest - second_highest


def rarities(probabilities: np.ndarray, n_labelled: np.ndarray) -> np.ndarray:
    """Return how rare a row's class is expected to be among the labels, (N,) from 0 to 1.

    The rarity of a class is inverse to the square root of its number of labels, and 1 for the rarest class.

    Shape:
        probabilities: (N, K)
        n_labelled: (K,) int64, rows of each class that have a label
    """
    class_rarities = 1 / np.sqrt(n_labelled + 1)
    return probabilities @ (class_rarities / class_rarities.max())


def doubts(probabilities: np.ndarray, n_labelled: np.ndarray) -> np.ndarray:
    """Return how much there is to learn from each row, (N,): a small margin, the more where its class is rare.

    Shape:
        probabilities: (N, K)
        n_labelled: (K,) int64
    """
    return (1 - margins(probabilities)) * (1 + rarities(probabilities, n_labelled))


def _nearest_to_centres(
    vectors: np.ndarray, n_wanted: int, weights: np.ndarray | None, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the position of the row nearest to each cluster's centre, and the clusters' sizes, the largest first.

    Where there are no more rows than clusters, each row is a cluster.
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
    _, first_of_cluster, sizes = np.unique(model.labels_[order], return_index=True, return_counts=True)
    by_size = np.argsort(-sizes, kind="stable")
    return order[first_of_cluster][by_size], sizes[by_size]


def _main_directions(vectors: np.ndarray) -> np.ndarray:
    """Return the rows along the directions of most variance, (N, 64); as they are where they have no more.

    Shape:
        vectors: (N, D)
    """
    if vectors.shape[1] <= CLUSTERED_DIM:
        return vectors
    centred = vectors - vectors.mean(axis=0)
    return centred @ np.linalg.eigh(centred.T @ centred)[1][:, -CLUSTERED_DIM:]
