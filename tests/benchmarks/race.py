"""Measure what a race saves, and whether it has the same winners: `python tests/benchmarks/race.py`.

The problem is drawn: 10,000 rows of 80 classes, vectors of 64 and 96 dimensions around a centre a class, as far apart
as those of `training.py`. 200 configurations (image, text, early, gated; five learning rates, five dropouts, two
widths) are trained on five folds.

full      `heads.ablate` without a race and with one, each with a result cache of its own: seconds, CPU, trainings
steps     CPU seconds of three epochs of stacks of 1, 4, 16 and 60 `early` heads, three sizes: what a step takes alone
sized     40 configurations of the default width (five learning rates, two dropouts), 20 classes, vectors of 512 and 384
          dimensions: CPU seconds with a race and without one, in turns (`--n`), each with an empty result cache
small     the same of the first problem of `seeds`
repeats   the race run anew on the answers of the full ablation, nothing being trained: folds in a random order, and the
          groups of rows drawn with replacement. Winners are compared with those of all folds on the same drawn rows.
          Without `--draw-rows` there is the order of the folds alone, and the full ablation's own winners.
seeds     a smaller problem (1,500 rows, 12 classes, 16 and 24 dimensions, 60 configurations of 10 epochs at most),
          split, drawn and trained anew for each repeat, without a race and, from what was trained, with one
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).resolve().parent)]

from stored_ablation import Stored, StoredRunner  # noqa: E402 - it is on the path by now
from support import class_vectors, synthetic_cache  # noqa: E402

from cache import Cache  # noqa: E402
from heads.ablation.ablation_settings import AblationSettings  # noqa: E402
from heads.ablation.grid import span  # noqa: E402
from heads.ablation.race import Race  # noqa: E402
from heads.experiment.configuration import Configuration, FoldJob, configurations_of  # noqa: E402
from heads.experiment.experiment import Experiment  # noqa: E402
from heads.experiment.problem import pose  # noqa: E402
from heads.workflows.ablate import ablate  # noqa: E402

GRID = {
    "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
    "dropout": (0.0, 0.2, 0.35, 0.5, 0.65),
    "hidden_dim": (32, 64),
}
SIZED_GRID = {"learning_rate": (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3), "dropout": (0.2, 0.5)}
SMALL_GRID = {
    "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3), "dropout": (0.0, 0.35), "hidden_dim": (32, 64), "max_epochs": (10,)
}  # fmt: skip
SETTINGS = AblationSettings(fusions=("early", "gated"), grid=GRID, n_resamples=200)


@click.command()
@click.option("--only", default="full,repeats,seeds", show_default=True)
@click.option("--rows", "n_rows", default=10_000, show_default=True)
@click.option("--cache", "cache_path", type=click.Path(path_type=Path), help="A real one in place of the drawn one.")
@click.option("--label", help="Of that cache.")
@click.option("--max-epochs", type=int, help="Of the trainings; default: 60.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where all is kept; what is there is not made anew.")
@click.option("--n", "n_repeats", default=20, show_default=True, help="Repeats.")
@click.option("--draw-rows/--no-draw-rows", default=True, show_default=True, help="In the repeats.")
def command(
    only: str, n_rows: int, cache_path: Path | None, label: str | None, max_epochs: int | None, folder: Path | None,
    n_repeats: int, draw_rows: bool,
) -> None:  # fmt: skip
    """Measure races against ablations of all folds."""
    folder = folder or Path(tempfile.mkdtemp())
    grid = GRID | ({"max_epochs": (max_epochs,)} if max_epochs else {})
    settings = replace(SETTINGS, grid=grid, label=label)
    cache_path = cache_path or folder / "drawn.h5"
    if {"full", "repeats"} & set(only.split(",")) and not cache_path.exists():
        draw(cache_path, n_rows, n_classes=80, dims={"image": 64, "text": 96}, spread=2.47)
    if "full" in only:
        for name in ("race", "full"):
            with measured(name):
                report = ablate(
                    cache_path, settings=replace(settings, race=name == "race"), runs_path=folder / name,
                    with_report=False,
                )  # fmt: skip
            single, fusion = report.ranking.single, report.ranking.fusion
            click.echo(
                f"{name}: {report.n_trained} trained, {report.n_dropped} dropped; {named(single)}; {named(fusion)}"
            )
    if "steps" in only:
        steps(folder)
    if "sized" in only:
        path = folder / f"sized {n_rows}.h5"
        if not path.exists():
            draw(path, n_rows, n_classes=20, dims={"image": 512, "text": 384}, spread=4.5)
        in_turns(path, replace(SETTINGS, grid={**SIZED_GRID, "max_epochs": (max_epochs or 60,)}), n_repeats)
    if "small" in only:
        draw_small(folder / "small 0.h5", 0)
        in_turns(folder / "small 0.h5", replace(SETTINGS, fusions=("early",), grid=SMALL_GRID), n_repeats)
    if "repeats" in only:
        repeat(Stored(cache_path, settings, folder / "full" / "memo.sqlite"), n_repeats, draw_rows=draw_rows)
    if "seeds" in only:
        seeds(folder, n_repeats)


def draw(path: Path, n_rows: int, *, n_classes: int, dims: dict[str, int], spread: float, seed: int = 0) -> None:
    """Seal a cache of drawn vectors."""
    targets = np.random.default_rng(seed).integers(0, n_classes, n_rows)
    vectors = {
        name: class_vectors(targets, dim, spread=spread, seed=seed + n + 1)
        for n, (name, dim) in enumerate(dims.items())
    }
    synthetic_cache(path, vectors, {"label": [f"class {code}" for code in targets]})


@contextmanager
def measured(name: str) -> Iterator[None]:
    """Print the seconds that something takes, by the clock and of all threads."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    yield
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    click.echo(f"{name}: {time.perf_counter() - started:.1f} s, {cpu_s:.1f} CPU s")


def named(configuration: Configuration | None) -> str:
    """Return a configuration's name."""
    if configuration is None:
        return "none"
    settings = configuration.settings
    return (
        f"{configuration.head} lr {settings.learning_rate:g} dropout {settings.dropout:g} hidden {settings.hidden_dim}"
    )


def repeat(stored: Stored, n_repeats: int, *, draw_rows: bool) -> None:
    """Race again and again on what is stored."""
    lines = []
    for number in range(n_repeats):
        generator = np.random.default_rng(number)
        order = generator.permutation(len(stored.problem.folds))
        runner = StoredRunner(stored, order, generator=generator if draw_rows else None)
        lines.append(compared(runner, stored.configurations, seed=number))
        click.echo(f"repeat {number}: {lines[-1]}")
    print_summary(lines)


def compared(runner: Any, configurations: list[Configuration], *, seed: int) -> dict[str, float]:
    """Return what a race on a stored ablation saves, and how far its winners are behind those of all folds."""
    race = Race(runner, configurations, seed=seed)
    race.run()
    line: dict[str, float] = {"jobs": len(runner.outcomes), "dropped": len(race.dropped)}
    for name, is_single in (("fusion", False), ("single", True)):
        family = [configuration for configuration in configurations if configuration.is_single is is_single]
        best = max(family, key=runner.mean)
        winner = max((configuration for configuration in family if configuration not in race.dropped), key=runner.mean)
        line[f"{name}_lost"] = float(100 * (runner.mean(best) - runner.mean(winner)))
        line[f"same_{name}"] = best == winner
    return line


def print_summary(lines: list[dict[str, float]]) -> None:
    jobs = [line["jobs"] for line in lines]
    click.echo(f"trainings: mean {np.mean(jobs):.0f}, {min(jobs)} to {max(jobs)}")
    for name in ("fusion", "single"):
        lost = [line[f"{name}_lost"] for line in lines]
        same = sum(line[f"same_{name}"] for line in lines)
        click.echo(f"same best {name}: {same} of {len(lines)}; most points lost {max(lost):.2f}")


def steps(folder: Path) -> None:
    """Time stacks of few and many heads."""
    for n_rows, n_classes, image_dim, text_dim, hidden_dim, sizes in (
        (1500, 12, 16, 24, 32, (1, 4, 16, 60)),
        (10_000, 80, 64, 96, 32, (1, 4, 16, 60)),
        (2000, 20, 512, 384, 256, (1, 4, 16)),
    ):
        path = folder / f"steps {n_rows}.h5"
        if not path.exists():
            draw(path, n_rows, n_classes=n_classes, dims={"image": image_dim, "text": text_dim}, spread=2.0)
        rates = tuple(5e-4 * 1.02**step for step in range(max(sizes)))
        grid = {"learning_rate": rates, "hidden_dim": (hidden_dim,), "max_epochs": (3,)}
        settings = replace(SETTINGS, fusions=("early",), grid=grid)
        with Cache(path) as cache:
            problem = pose(cache, settings)
        experiment = Experiment.of(problem, settings, sides=("validation", "test"))
        every = configurations_of(problem.fusions, problem.combinations, span(grid))
        jobs = [FoldJob(configuration, 0, 0) for configuration in every if configuration.head == "early"]
        experiment.run(jobs[:1], lambda *_: None)
        for n_heads in sizes:
            with measured(f"{n_rows} rows, {image_dim} + {text_dim} dimensions, hidden {hidden_dim}, {n_heads} heads"):
                experiment.run(jobs[:n_heads], lambda *_: None)


def in_turns(path: Path, settings: AblationSettings, n_turns: int) -> None:
    """Take the CPU seconds of an ablation with a race and without one, each with an empty result cache."""
    for turn in range(n_turns):
        for name in ("full", "race"):
            runs = Path(tempfile.mkdtemp(dir=path.parent))
            with measured(f"turn {turn}, {name}"):
                report = ablate(
                    path, settings=replace(settings, race=name == "race"), runs_path=runs, with_report=False
                )
            single, fusion = report.ranking.single, report.ranking.fusion
            click.echo(f"{report.n_trained} trained, {report.n_dropped} dropped; {named(single)}; {named(fusion)}")


def draw_small(path: Path, number: int) -> None:
    if not path.exists():
        draw(path, 1500, n_classes=12, dims={"image": 16, "text": 24}, spread=2.0, seed=10 * number)


def seeds(folder: Path, n_repeats: int) -> None:
    """Draw, train and race small problems."""
    lines = []
    with measured("seeds"):
        for number in range(n_repeats):
            path = folder / f"small {number}.h5"
            draw_small(path, number)
            settings = replace(SETTINGS, fusions=("early",), grid=SMALL_GRID, split_seed=number)
            runs = folder / f"small {number}"
            ablate(path, settings=settings, runs_path=runs, with_report=False)
            stored = Stored(path, settings, runs / "memo.sqlite")
            runner = StoredRunner(stored, np.arange(len(stored.problem.folds)), generator=None)
            lines.append(compared(runner, stored.configurations, seed=number))
            click.echo(f"problem {number}: {lines[-1]}")
    print_summary(lines)


if __name__ == "__main__":
    command()
