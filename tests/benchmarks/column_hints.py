"""How often `embed-inspect` names columns of noise, and columns that it should name: drawn catalogues of 2,000 rows.

python tests/benchmarks/column_hints.py --draws 100
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from embed import InspectSettings, inspect

N_ROWS = 2_000
SHARES = {"2 even classes": [0.5, 0.5], "10 even classes": [0.1] * 10, "a class of 90 %": [0.9, 0.05, 0.05]}
Columns = dict[str, np.ndarray]


def draw_noise(labels: np.ndarray, generator: np.random.Generator) -> Columns:
    """Return columns that are independent of the label: of 2, 50 and 1,000 values, twice each, and a number."""
    columns = {f"noise {n} {which}": generator.integers(n, size=N_ROWS) for n in (2, 50, 1000) for which in "ab"}
    return {**columns, "price": generator.integers(100, 9999, size=N_ROWS)}


def draw_known(labels: np.ndarray, generator: np.random.Generator) -> Columns:
    """Return noise, and what should be named: handles of one to four rows, a copy with 3 % slips, one with 10 % gaps,
    and two columns that tell the label together alone."""
    n_classes = labels.max() + 1
    handles = np.empty(N_ROWS, dtype=np.int64)
    order, sizes = np.argsort(labels, kind="stable"), generator.integers(1, 5, size=N_ROWS)
    handles[order] = np.repeat(np.arange(N_ROWS), sizes)[:N_ROWS] + 10_000 * labels[order]
    other_labels = (labels + generator.integers(1, n_classes, size=N_ROWS)) % n_classes
    slips = np.where(generator.random(N_ROWS) < 0.03, other_labels, labels)
    gaps = np.where(generator.random(N_ROWS) < 0.1, -1, labels)
    key = generator.integers(n_classes, size=N_ROWS)
    columns = {"made by": handles, "slips": slips, "gaps": gaps, "key": key, "lock": (labels + key) % n_classes}
    return {**draw_noise(labels, generator), **columns}


def named_in(folder: Path, labels: np.ndarray, columns: Columns) -> set[str]:
    """Return what an inspection names, as kind: columns."""
    path = folder / "data.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", *columns])
        cells = [["" if cell < 0 else f"v{cell}" for cell in column.tolist()] for column in columns.values()]
        writer.writerows(zip(range(N_ROWS), [f"class {label}" for label in labels], *cells, strict=True))
    report = inspect(path, settings=InspectSettings(estimate=False))
    groups = {hint.column for hint in report.group_columns}
    named = {f"group: {column}" for column in groups}
    named |= {f"leak: {pair.column}" for pair in report.associations if pair.is_leak and pair.column not in groups}
    return named | {f"near leak: {' + '.join(leak.columns)}" for leak in report.near_leaks}


def main() -> None:
    """Print in how many of the draws each thing was named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=100)
    n_draws = parser.parse_args().draws
    with tempfile.TemporaryDirectory() as folder:
        for name, shares in SHARES.items():
            for draw in (draw_noise, draw_known):
                counts: Counter[str] = Counter()
                for seed in range(n_draws):
                    generator = np.random.default_rng(seed)
                    labels = generator.choice(len(shares), size=N_ROWS, p=shares)
                    counts.update(named_in(Path(folder), labels, draw(labels, generator)))
                shown = ", ".join(f"{finding} {count}" for finding, count in sorted(counts.items())) or "nothing"
                print(f"{name}, {draw.__name__}: of {n_draws} draws {shown}", flush=True)


if __name__ == "__main__":
    main()
