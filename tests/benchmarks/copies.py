"""What copies by equal vectors and placeholders do to a score, and how far vectors of one content are from each other.

    python tests/benchmarks/copies.py drawn
    python tests/benchmarks/copies.py rounding ONE.h5 OTHER.h5

`drawn` answers test rows by their nearest training row, of 20 drawn catalogues a line, with groups of rows that share a
content (as before) and with those of `find_groups`. `rounding` takes two caches of the same contents, extracted with
--batch-size 1 and 64, say.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import class_vectors, synthetic_cache  # noqa: E402 - they are on the path by now

from cache import Cache  # noqa: E402
from heads.data.labels import make_labels  # noqa: E402
from heads.data.splitting.groups import find_groups, share_content  # noqa: E402
from heads.data.splitting.splits import split_rows  # noqa: E402

N_ROWS, DIM, N_DRAWS = 600, 64, 20
Drawn = tuple[np.ndarray, np.ndarray, list[str]]  # vectors, targets, contents


def draw_twins(generator: np.random.Generator) -> Drawn:
    """Return products in two spellings each, of one vector but for rounding, with a label drawn for the product."""
    vectors = np.repeat(generator.standard_normal((N_ROWS // 2, DIM)), 2, axis=0)
    vectors *= 1 + 1e-6 * generator.standard_normal((N_ROWS, 1))
    targets = np.repeat(generator.integers(2, size=N_ROWS // 2), 2)
    return vectors, targets, [f"text {n}" for n in range(N_ROWS)]


def draw_placeholder(generator: np.random.Generator) -> Drawn:
    """Return rows of three classes, 42 % of which have one and the same text."""
    targets = generator.integers(3, size=N_ROWS)
    vectors = class_vectors(targets, DIM, spread=0.1, seed=int(generator.integers(2**31)))
    is_nan = generator.random(N_ROWS) < 0.42
    vectors[is_nan] = 1
    return vectors, targets, ["nan" if blank else f"text {n}" for n, blank in enumerate(is_nan)]


def measure(draw: Callable[[np.random.Generator], Drawn], path: Path) -> None:
    """Print the share of test rows answered right, and of those with a placeholder, the mean of the draws."""
    lines: dict[str, list[tuple[float, float]]] = {"shared contents": [], "find_groups": []}
    for seed in range(N_DRAWS):
        vectors, targets, contents = draw(np.random.default_rng(seed))
        names = [f"class {target}" for target in targets]
        path.unlink(missing_ok=True)
        synthetic_cache(path, {"text": vectors}, {"label": names}, contents={"text": contents})
        with Cache(path) as cache:
            labels = make_labels("label", names, usable=np.ones(N_ROWS, dtype=bool), min_rows=1)
            groups_of_rows = find_groups(cache, labels, encoders={"text": ["synthetic"]})
            by_groups = {"shared contents": share_content([cache.rows("text")]), "find_groups": groups_of_rows.of_rows}
        is_placeholder = np.array([content == "nan" for content in contents])
        for name, groups in by_groups.items():
            generator = np.random.default_rng(seed)
            split = split_rows(labels.targets, groups, test_share=0.2, validation_share=0.15, generator=generator)
            order = generator.permutation(split.train)  # the nearest of equals is any of them
            distances = np.linalg.norm(vectors[split.test][:, None] - vectors[order][None], axis=2)
            right = targets[order[distances.argmin(1)]] == targets[split.test]
            lines[name].append((right.mean(), is_placeholder[split.test].mean()))
    for name, values in lines.items():
        right, of_nan = 100 * np.mean(values, axis=0)
        low, high = 100 * np.min(values, axis=0)[0], 100 * np.max(values, axis=0)[0]
        print(f"{draw.__name__:17} {name:16} right {right:5.1f} ({low:.1f} to {high:.1f})  placeholder {of_nan:4.1f}")


def compare(first: Path, second: Path) -> None:
    """Print distances of unit vectors: of the same content in two caches, and of a content to its nearest other."""
    with Cache(first) as first_cache, Cache(second) as second_cache:
        for modality in first_cache.modalities:
            for encoder in first_cache.encoders(modality):
                first_vectors, second_vectors = (
                    unit_vectors(cache.matrix(modality, encoder)) for cache in (first_cache, second_cache)
                )
                rows = np.unique(first_cache.rows(modality), return_index=True)[1]
                same = np.linalg.norm(first_vectors - second_vectors, axis=1)
                distances = np.linalg.norm(first_vectors[rows][:, None] - first_vectors[rows][None], axis=2)
                np.fill_diagonal(distances, np.inf)
                nearest = ", ".join(f"{value:.2g}" for value in np.sort(distances.min(1))[:6])
                print(f"{modality}/{encoder}: same content {same.max():.1e} at most; nearest others {nearest}")


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Measure what the first argument names."""
    if sys.argv[1:2] == ["rounding"]:
        compare(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for draw in (draw_twins, draw_placeholder):
            measure(draw, Path(folder) / "c.h5")


if __name__ == "__main__":
    main()
