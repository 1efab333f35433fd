"""How many of the wrong labels that are planted in a catalogue an audit puts first, beside cleanlab; and its memory.

    python tests/benchmarks/audit.py planted CACHE.h5 --label subCategory --seeds 5
    python tests/benchmarks/audit.py memory --rows 200000 --classes 1000
    python tests/benchmarks/audit.py compare --rows 200000

`planted` gives 200 rows another label, drawn at random or the likeliest other class by heads on the labels as they are,
and audits. All rankings are of the same out-of-fold probabilities. `memory` audits a drawn cache with --memory 1G in a
process of its own, and prints the CPU seconds of each part of it and the most memory it had by then; `compare` does so
for four blocks of comparisons alone.
"""

from __future__ import annotations

import argparse
import csv
import functools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402
from scipy.stats import t  # noqa: E402 - the next are on the path by now
from support import synthetic_cache  # noqa: E402

from cache import Cache  # noqa: E402
from heads.audit import evidence, nearest, out_of_fold  # noqa: E402
from heads.audit.audit_settings import AuditSettings  # noqa: E402
from heads.audit.evidence import Evidence, gather_evidence  # noqa: E402
from heads.audit.label_errors import is_label_issue, rank_labels  # noqa: E402
from heads.data.vectors import Vectors  # noqa: E402
from heads.experiment.problem import pose  # noqa: E402
from heads.settings import FitSettings  # noqa: E402
from heads.workflows import audit  # noqa: E402

N_PLANTED = 200


def gather(cache_path: Path, settings: AuditSettings) -> tuple[Evidence, np.ndarray]:
    """Return an audit's evidence, and all out-of-fold probabilities, (N, K), which an audit does not keep."""
    with Cache(cache_path) as cache:
        problem = pose(cache, settings)
    probabilities = np.zeros((len(problem.ids), len(problem.labels.classes)))
    blocks = out_of_fold._blocks

    def noting(*arguments):
        for rows, block in blocks(*arguments):
            probabilities[rows] = block
            yield rows, block

    out_of_fold._blocks = noting
    try:
        return gather_evidence(problem, settings), probabilities
    finally:
        out_of_fold._blocks = blocks


def rankings(evidence: Evidence, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Return rows by each way, the likeliest to be wrong first; those without "all" end where the way says no more."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    out_of_fold, targets = evidence.out_of_fold, evidence.targets
    rows = np.flatnonzero(out_of_fold.is_tested)
    normalised = probabilities[rows] / probabilities[rows].sum(1, keepdims=True)
    shares = np.mean([near.vote_shares(targets, targets)[rows] for near in evidence.nearest.values()], axis=0)
    issues = find_label_issues(targets[rows], normalised, return_indices_ranked_by="self_confidence")
    scores = get_label_quality_scores(targets[rows], normalised)
    rank = rank_labels(evidence)
    return {
        "heads-audit": rank,
        "heads-audit, of cleanlab's kind": rank[is_label_issue(evidence)[rank]],
        "heads alone, all": rows[
            np.argsort(
                out_of_fold.given_probabilities[rows] - out_of_fold.alternative_probabilities[rows], kind="stable"
            )
        ],
        "neighbours alone, all": rows[np.argsort(shares, kind="stable")],
        "cleanlab's issues": rows[issues],
        "cleanlab's scores, all": rows[np.argsort(scores, kind="stable")],
    }


def plant(evidence: Evidence, kind: str, seed: int, path: Path) -> np.ndarray:
    """Write a file of corrections that makes labels wrong; return which rows', (N,) bool."""
    generator = np.random.default_rng(seed)
    problem, classes = evidence.problem, evidence.problem.labels.classes
    rows = generator.choice(np.flatnonzero(evidence.out_of_fold.is_tested), N_PLANTED, replace=False)
    drawn = generator.integers(len(classes) - 1, size=N_PLANTED)
    drawn += drawn >= evidence.targets[rows]
    new = drawn if kind == "random" else evidence.out_of_fold.alternatives[rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("product", "label")])
        csv.writer(file).writerows((problem.ids[row], classes[code]) for row, code in zip(rows, new, strict=True))
    is_planted = np.zeros(len(problem.ids), dtype=bool)
    is_planted[rows] = True
    return is_planted


def mean_of(values: list[float]) -> str:
    """Return a mean in percent with the 95 % interval of Student's t over the seeds."""
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{100 * np.mean(values):5.1f} ± {100 * half:4.1f}"


def planted(cache_path: Path, *, label: str, n_seeds: int) -> None:
    """Print each way's precision at 200, and how many rows it lists with how many of the planted among them."""
    settings = AuditSettings(label=label)
    clean, _ = gather(cache_path, settings)
    is_known = clean.out_of_fold.is_tested
    print(
        f"{cache_path.name}, {label}: {int(is_known.sum())} rows, {len(clean.problem.labels.classes)} classes",
        flush=True,
    )
    hits: dict[str, dict[str, list[tuple[float, float, int]]]] = {"random": {}, "confusion": {}}
    for seed in range(n_seeds):
        for kind, hits_of_kind in hits.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "planted.csv"
                is_planted = plant(clean, kind, seed, path)
                wrong, probabilities = gather(cache_path, AuditSettings(label=label, corrections=path))
            for way, rows in rankings(wrong, probabilities).items():
                hits_by_rank = is_planted[rows]
                numbers = hits_by_rank[:N_PLANTED].sum() / N_PLANTED, hits_by_rank.sum() / N_PLANTED, len(rows)
                hits_of_kind.setdefault(way, []).append(numbers)
        for kind, hits_of_kind in hits.items():
            show(kind, hits_of_kind)


def show(kind: str, hits: dict[str, list[tuple[float, float, int]]]) -> None:
    """Print the means over the seeds so far."""
    n_seeds = len(next(iter(hits.values())))
    print(f"\n{f'{kind}, {n_seeds} seeds':32} precision at {N_PLANTED}, %   recall of the list, %   rows in it")
    for way, numbers in hits.items():
        at, recalls, sizes = (list(values) for values in zip(*numbers, strict=True))
        recall = "" if way.endswith("all") else mean_of(recalls)
        print(f"{way:32} {mean_of(at):>19}   {recall:>21}   {np.mean(sizes):10.0f}", flush=True)


def draw(path: Path, *, n_rows: int, n_classes: int, dims: dict[str, int]) -> None:
    """Seal a cache of vectors around one centre a class, and a label that is another's in one row of a hundred."""
    generator = np.random.default_rng(0)
    targets = generator.integers(n_classes, size=n_rows)
    vectors = {}
    for name, dim in dims.items():
        matrix = generator.standard_normal((n_rows, dim), dtype=np.float32)
        matrix += generator.standard_normal((n_classes, dim), dtype=np.float32)[targets]
        vectors[name] = matrix
    wrong = np.where(generator.random(n_rows) < 0.01, generator.integers(n_classes, size=n_rows), targets)
    synthetic_cache(path, vectors, {"label": [f"class {code}" for code in wrong]})


def shorten_work() -> None:
    """Have heads trained for one epoch, and four blocks of rows compared with all, which takes as much memory."""
    out_of_fold.FitSettings = functools.partial(FitSettings, max_epochs=1)
    search, answers = nearest._search, []

    def search_a_little(directions, groups, targets, positions, k):
        if len(answers) % 200 < 4:
            answers.append(search(directions, groups, targets, positions, k))
        else:
            answers.append(tuple(part[: len(positions)] for part in answers[-1]))
        return tuple(part[: len(positions)] for part in answers[-1])

    nearest._search = search_a_little


def with_costs(title: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that prints, when it returns, the CPU seconds it took and the peak memory so far."""

    @functools.wraps(function)
    def printing(*arguments, **options):
        started = time.process_time()
        value = function(*arguments, **options)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{title}: {time.process_time() - started:.0f} s of CPU, {peak:.2f} GiB at most by now", flush=True)
        return value

    return printing


def memory(*, n_rows: int, n_classes: int, brief: bool) -> None:
    """Print what an audit of a drawn cache takes; the cache is drawn by another process."""
    if brief:
        shorten_work()
    evidence.ask_out_of_fold = with_costs("training", evidence.ask_out_of_fold)
    evidence.find_nearest = with_costs("comparing by a modality", evidence.find_nearest)
    audit.detect = with_costs("looking for findings", audit.detect)
    dims = {"image": 512, "text": 384}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.h5"
        command = [sys.executable, __file__, "draw", str(path), "--rows", str(n_rows), "--classes", str(n_classes)]
        subprocess.run(command, check=True)
        started = time.monotonic()
        report = audit.audit_catalogue(path, settings=AuditSettings(memory="1G"), runs_path=Path(folder) / "runs")
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(
            f"{n_rows} rows, {n_classes} classes, {dims}: {time.monotonic() - started:.0f} s "
            f"({used.ru_utime + used.ru_stime:.0f} s of CPU), {used.ru_maxrss / 2**20:.2f} GiB at most, {report.counts}"
        )


def compare(*, n_rows: int, n_classes: int) -> None:
    """Print the most memory that comparing four blocks of drawn rows with all has taken, 512 dimensions in memory."""
    shorten_work()
    generator = np.random.default_rng(0)
    inputs = torch.from_numpy(generator.standard_normal((n_rows, 512), dtype=np.float32))
    vectors = Vectors(
        encoders={}, specs={}, inputs={"image": inputs}, present={"image": torch.ones(n_rows, dtype=torch.bool)}
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    usable, targets = np.ones(n_rows, dtype=bool), generator.integers(n_classes, size=n_rows)
    neighbours = nearest.find_nearest(vectors, "image", usable=usable, targets=targets, groups=np.arange(n_rows), k=10)
    neighbours.vote_shares(targets, targets)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{n_rows} rows: {before:.2f} GiB before, {used.ru_maxrss / 2**20:.2f} GiB at most, "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU"
    )


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["planted", "memory", "compare", "draw"])
    parser.add_argument("cache", nargs="?", type=Path)
    parser.add_argument("--label", default="subCategory")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--brief", action="store_true", help="one epoch, and few of the comparisons")
    options = parser.parse_args()
    if options.what == "planted":
        planted(options.cache, label=options.label, n_seeds=options.seeds)
    elif options.what == "draw":
        draw(options.cache, n_rows=options.rows, n_classes=options.classes, dims={"image": 512, "text": 384})
    elif options.what == "compare":
        compare(n_rows=options.rows, n_classes=options.classes)
    else:
        memory(n_rows=options.rows, n_classes=options.classes, brief=options.brief)


if __name__ == "__main__":
    main()
