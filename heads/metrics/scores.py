"""How good a head's predictions are: accuracy never alone, and an interval beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

__all__ = ["log_loss", "mean_log_loss", "per_class", "resampled_scores", "scores"]

LEAST_PROBABILITY = 1e-15
BLOCK_CELLS = 4_000_000  # resamples are drawn in blocks of about so many counts


def scores(
    targets: np.ndarray, predictions: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Return accuracy, macro-F1 and balanced accuracy; the latter two over the classes that occur.

    Macro-F1 is over the classes among labels or predictions, balanced accuracy over those among labels, as scikit-learn
    has them. A row of weight 2 counts as two rows; without weights each counts once.

    Shape:
        targets, predictions: (n,) int64
        weights: (n,) non-negative
    """
    is_hit = targets == predictions
    hits = np.bincount(targets[is_hit], None if weights is None else weights[is_hit], minlength=n_classes)
    labels = np.bincount(targets, weights, minlength=n_classes)
    answered = np.bincount(predictions, weights, minlength=n_classes)
    accuracy, macro_f1, balanced = _scores_of_counts(hits, labels, answered)
    return {"accuracy": float(accuracy), "macro_f1": float(macro_f1), "balanced_accuracy": float(balanced)}


def per_class(targets: np.ndarray, predictions: np.ndarray, classes: list[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and support of each class; 0 where there is nothing to divide by."""
    n_classes = len(classes)
    hits = np.bincount(targets[targets == predictions], minlength=n_classes)
    labels = np.bincount(targets, minlength=n_classes)
    answered = np.bincount(predictions, minlength=n_classes)
    return {
        name: {
            "precision": float(hits[n] / max(answered[n], 1)),
            "recall": float(hits[n] / max(labels[n], 1)),
            "f1": float(2 * hits[n] / max(labels[n] + answered[n], 1)),
            "support": int(labels[n]),
        }
        for n, name in enumerate(classes)
    }


def log_loss(probabilities: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean negative log-probability of the labels, in nats; of rows that have weights the weighted mean.

    Shape:
        probabilities: (n, K)
        targets: (n,) int64
        weights: (n,) non-negative
    """
    return mean_log_loss(probabilities[np.arange(len(targets)), targets], weights)


def mean_log_loss(of_targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return what `log_loss` does, from the probabilities of the rows' labels alone, (n,)."""
    losses = -np.log(np.maximum(of_targets.astype(np.float64), LEAST_PROBABILITY))
    return float(losses.mean() if weights is None else np.average(losses, weights=weights))


def resampled_scores(
    targets: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    groups: np.ndarray,
    *,
    n_classes: int,
    n_resamples: int,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return accuracy and macro-F1 of every head on the same bootstrap resamples.

    Whole groups are drawn: rows that share a picture or a text are no independent evidence.

    Shape:
        targets, groups: (n,) int64
        predictions: {head: (n,) int64}
        output: {head: (R, 2)}
    """
    from scipy.sparse import csr_array

    n_rows = len(targets)

    def one_hot(columns: np.ndarray, values: np.ndarray) -> csr_array:
        return csr_array((values, (np.arange(n_rows), columns)), shape=(n_rows, n_classes)).T.tocsr()  # (K, n)

    ones = np.ones(n_rows)
    labels = one_hot(targets, ones)
    hits = {name: one_hot(targets, (targets == answer).astype(float)) for name, answer in predictions.items()}
    answered = {name: one_hot(answer, ones) for name, answer in predictions.items()}
    collected: dict[str, list[np.ndarray]] = {name: [] for name in predictions}
    for counts in _resamples(groups, n_resamples, generator):  # (n, r)
        n_labels = (labels @ counts).T  # (r, K)
        for name in predictions:
            accuracy, macro_f1, _ = _scores_of_counts((hits[name] @ counts).T, n_labels, (answered[name] @ counts).T)
            collected[name].append(np.stack([accuracy, macro_f1], axis=1))
    return {name: np.concatenate(blocks) for name, blocks in collected.items()}


def _resamples(groups: np.ndarray, n_resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield how often each row is drawn, (n, r) float64, for r resamples at a time."""
    _, inverse = np.unique(groups, return_inverse=True)
    n_groups = int(inverse.max()) + 1
    at_once = max(1, min(n_resamples, BLOCK_CELLS // len(groups)))
    for start in range(0, n_resamples, at_once):
        n_here = min(at_once, n_resamples - start)
        drawn = generator.integers(n_groups, size=(n_here, n_groups))  # (r, G)
        counts = np.stack([np.bincount(sample, minlength=n_groups) for sample in drawn], axis=1)  # (G, r)
        yield counts[inverse].astype(np.float64)


def _scores_of_counts(
    hits: np.ndarray, labels: np.ndarray, answered: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return accuracy, macro-F1 and balanced accuracy from counts or weights per class, (..., K) each."""
    total = _or_one(labels.sum(-1))
    either = labels + answered
    occurs = either > 0
    f1 = 2 * hits / _or_one(either)
    macro_f1 = f1.sum(-1) / np.maximum(occurs.sum(-1), 1)
    has_label = labels > 0
    recall = hits / _or_one(labels)
    balanced = recall.sum(-1) / np.maximum(has_label.sum(-1), 1)
    return hits.sum(-1) / total, macro_f1, balanced


def _or_one(totals: np.ndarray) -> np.ndarray:
    """Return what can be divided by."""
    return np.where(totals > 0, totals, 1)
