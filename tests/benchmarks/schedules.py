"""Measure whether schedules of the learning rate pay: `python tests/benchmarks/schedules.py CACHE --label articleType`.

Early fusion and attention over image and text are trained with each of `VARIANTS` on the same folds, from the same
seeds. Without CACHE the problem is drawn: 4,000 rows, two modalities of 64 dimensions, 20 classes of Zipf's sizes, a
tenth of the labels wrong. A line a head and variant: accuracy and macro-F1 on the test rows, percent; the mean
difference to the first variant in points with its 95 % interval (Student's t over the folds, each its seeds' mean);
the mean number of epochs, and seconds a training takes of its stack.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import synthetic_cache  # noqa: E402 - they are on the path by now

from cache import Cache  # noqa: E402
from heads.ablation.ablation_settings import AblationSettings  # noqa: E402
from heads.errors import HeadError  # noqa: E402
from heads.experiment.configuration import Configuration, FoldJob  # noqa: E402
from heads.experiment.experiment import Experiment  # noqa: E402
from heads.experiment.problem import Problem, pose  # noqa: E402
from heads.experiment.results import Trained  # noqa: E402
from heads.metrics.scores import scores  # noqa: E402
from heads.settings import FitSettings  # noqa: E402

WHOLE = {"max_epochs": 20, "patience": 20}  # epochs, none of them left out
NONE = {"schedule": "none", "batch_size": 256}  # the defaults until there was one-cycle
VARIANTS = {
    "none": NONE,
    "none, warm-up 2": {**NONE, "warmup": 2.0},
    "plateau": {**NONE, "schedule": "plateau"},
    "cosine": {**NONE, "schedule": "cosine"},
    "none, 20 epochs": {**NONE, **WHOLE},
    "cosine, 20 epochs": {**NONE, "schedule": "cosine", **WHOLE},
    "cosine, 20 epochs, warm-up 2": {**NONE, "schedule": "cosine", "warmup": 2.0, **WHOLE},
    "one-cycle": {},
}
STUDENT = {2: 12.706, 3: 4.303, 5: 2.776}  # 97.5 %, by the number of folds


def draw_cache(folder: Path) -> Path:
    """Return a cache of a problem whose classes follow Zipf's law, and of which a tenth of the labels is wrong."""
    generator = np.random.default_rng(0)
    shares = 1 / np.arange(1, 21)
    targets = generator.choice(20, size=4000, p=shares / shares.sum())
    vectors = {}
    for name in ("image", "text"):
        centres = generator.standard_normal((20, 64))
        vectors[name] = centres[targets] + 4 * generator.standard_normal((4000, 64))
    wrong = generator.random(4000) < 0.1
    targets[wrong] = generator.integers(20, size=wrong.sum())
    return synthetic_cache(folder / "drawn.h5", vectors, {"label": [f"class {code:02}" for code in targets]})


def compare(
    problem: Problem,
    settings: AblationSettings,
    variants: Mapping[str, Mapping[str, Any]],
    *,
    heads: Sequence[str],
    n_seeds: int,
    say: Callable[[str], None],
) -> None:
    """Train heads with each variant of the settings, and say a line of each: its scores, and what it gains."""
    experiment = Experiment.of(problem, settings, sides=("test",))
    (encoders,) = problem.combinations
    jobs: dict[FoldJob, list[tuple[str, str]]] = defaultdict(list)  # job -> what it is: (head, variant)
    for head in heads:
        head_encoders = {head: encoders[head]} if head in encoders else encoders
        for name, changes in variants.items():
            configuration = Configuration.of(head, head_encoders, FitSettings(**changes))
            for job in configuration.jobs(n_folds=len(problem.folds), seeds=range(n_seeds)):
                jobs[job].append((head, name))
    reached: dict[tuple[str, str], np.ndarray] = {
        (head, name): np.zeros((len(problem.folds), n_seeds, 2)) for head in heads for name in variants
    }
    costs: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)

    def take(job: FoldJob, result: Trained | HeadError) -> None:
        if isinstance(result, HeadError):
            raise result
        targets = problem.labels.targets[problem.folds[job.fold].test]
        scored = scores(targets, result.answers["test"].predictions, len(problem.labels.classes))
        for variant_of_head in jobs.get(job, ()):
            reached[variant_of_head][job.fold, job.seed] = [100 * scored[score] for score in ("accuracy", "macro_f1")]
            costs[variant_of_head].append((len(result.history), result.elapsed_s))

    experiment.run(list(jobs), take)
    first = next(iter(variants))
    say(f"{'head':<10} {'variant':<30} {'accuracy':>8} {'macro-F1':>8}  difference in accuracy, in macro-F1; epochs, s")
    for (head, name), head_scores in reached.items():
        gains = "" if name == first else ", ".join(map(in_words, (head_scores - reached[head, first]).mean(1).T))
        accuracy, macro_f1 = head_scores.mean((0, 1))
        n_epochs, elapsed_s = np.mean(costs[head, name], axis=0)
        say(f"{head:<10} {name:<30} {accuracy:8.2f} {macro_f1:8.2f}  {gains}; {n_epochs:.1f}, {elapsed_s:.2f}")


def in_words(gains: np.ndarray) -> str:
    """Return the mean and its interval.

    Shape:
        gains: (n_folds,) in points
    """
    reach = STUDENT[len(gains)] * gains.std(ddof=1) / len(gains) ** 0.5
    return f"{gains.mean():+.2f} [{gains.mean() - reach:+.2f}, {gains.mean() + reach:+.2f}]"


def run(
    cache_path: Path | None,
    label: str | None,
    n_seeds: int,
    *,
    variants: Mapping[str, Mapping[str, Any]],
    heads: Sequence[str],
) -> None:
    """Compare the variants on a cache, or on what is drawn, and print what comes of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = cache_path or draw_cache(Path(folder))
        settings = AblationSettings(label=label, n_folds=5, precision="fp32")
        with Cache(path) as cache:
            problem = pose(cache, settings)
        n_rows, n_classes = len(problem.test_rows), len(problem.labels.classes)
        click.echo(f"{n_rows:,} rows, {n_classes} classes, 5 folds, {n_seeds} seeds")
        compare(problem, settings, variants, heads=heads, n_seeds=n_seeds, say=click.echo)


@click.command()
@click.argument("cache_path", metavar="[CACHE]", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--label", help="The column to learn.")
@click.option("--seeds", "n_seeds", default=3, show_default=True, help="How many, of each fold.")
@click.option("--variant", "names", multiple=True, type=click.Choice(list(VARIANTS)), help="Default: all.")
@click.option("--head", "heads", multiple=True, default=("early", "attention"), show_default=True)
def main(
    cache_path: Path | None, label: str | None, n_seeds: int, names: tuple[str, ...], heads: tuple[str, ...]
) -> None:
    """Measure whether schedules of the learning rate pay, on CACHE or on a problem that is drawn."""
    run(cache_path, label, n_seeds, variants={name: VARIANTS[name] for name in names or VARIANTS}, heads=heads)


if __name__ == "__main__":
    main()
