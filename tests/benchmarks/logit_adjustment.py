"""Measure what a fitted logit adjustment is worth: `python tests/benchmarks/logit_adjustment.py CACHE --label NAME`.

Heads are trained with each of `VARIANTS` on the same folds, from the same seeds; what is printed, and what is drawn
without CACHE, is as in `schedules.py` beside this.
"""

from __future__ import annotations

from pathlib import Path

import click
from schedules import run

VARIANTS = {
    "none": {},
    "auto": {"logit_adjustment": "auto"},
    "1 in training": {"logit_adjustment": 1.0},
}


@click.command()
@click.argument("cache_path", metavar="[CACHE]", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--label", help="The column to learn.")
@click.option("--seeds", "n_seeds", default=3, show_default=True, help="How many, of each fold.")
@click.option("--head", "heads", multiple=True, default=("early", "attention"), show_default=True)
def main(cache_path: Path | None, label: str | None, n_seeds: int, heads: tuple[str, ...]) -> None:
    """Measure whether a fitted logit adjustment pays, on CACHE or on a problem that is drawn."""
    run(cache_path, label, n_seeds, variants=VARIANTS, heads=heads)


if __name__ == "__main__":
    main()
