"""Measure how often verdicts are wrong: `python tests/benchmarks/verdicts.py`.

Answers are drawn and nothing is trained, so that the truth is known: a single modality and some fusions, each right as
often as its probability says, on the same rows and with much of their luck in common. 80 to 1,500 test rows, 2 to 40
classes from alike to Zipf's, 50 to 97 % accuracy, all by chance. In `equal` problems no fusion differs; in `different`
ones each differs by up to five points. In groups, copies of a product have its label and mostly its answers. The best
single modality is given: that the validation rows choose it is no part of this.

better    share of the problems in which any fusion is called better; of the equal ones 5 % at most are wanted
covered   share of the problems in which the intervals of all fusions hold the true differences of both scores
alone     both with intervals that hold for each difference by itself
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from heads.metrics.differences import Difference  # noqa: E402 - they are on the path by now
from heads.metrics.scores import resampled_scores, scores  # noqa: E402
from heads.metrics.verdict import Verdict, judge  # noqa: E402

SINGLE = "single"
FARTHEST = 0.05  # of a fusion's accuracy from the single one's, where they differ
SAME_COPY = 0.8  # of a group's rows have the answers of its first
SIZE = 0.35  # of the geometric distribution of the groups' sizes: three rows on average


@dataclass(frozen=True)
class Drawn:
    """A problem, what is answered, and how good these answers truly are.

    Shape:
        targets, groups: (n,)
        answers: {head: (n,)}
        truth: {head: (2,)}, accuracy and macro-F1 of endless rows
    """

    targets: np.ndarray
    groups: np.ndarray
    answers: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    n_classes: int


def draw(generator: np.random.Generator, *, n_fusions: int, grouped: bool, differ: bool) -> Drawn:
    """Return a problem by chance."""
    n_rows, n_classes = (int(np.exp(generator.uniform(*np.log(ends)))) for ends in ((80, 1500), (2, 40)))
    shares = np.arange(1, n_classes + 1) ** -generator.uniform(0, 1)
    shares /= shares.sum()
    mistakes = generator.dirichlet(np.full(n_classes, 0.5), size=n_classes) + 1e-9
    np.fill_diagonal(mistakes, 0)
    mistakes /= mistakes.sum(axis=1, keepdims=True)  # (K, K): where a class's mistakes go
    accuracy, in_common = generator.uniform(0.5, 0.97), generator.uniform(0.3, 0.95)
    groups = np.arange(n_rows)
    if grouped:
        groups = np.repeat(groups, generator.geometric(SIZE, size=n_rows))[:n_rows]
    targets = generator.choice(n_classes, size=n_rows, p=shares)[groups]

    def of_rows() -> np.ndarray:
        """Return uniform numbers, (n,), in which most copies are alike."""
        numbers_of_rows = generator.random(n_rows)
        return np.where(generator.random(n_rows) < SAME_COPY, numbers_of_rows[groups], numbers_of_rows)

    luck, answers, truth = of_rows(), {}, {}
    for name in (SINGLE, *(f"fusion {n}" for n in range(n_fusions))):
        off = generator.uniform(-FARTHEST, FARTHEST) if differ and name != SINGLE else 0.0
        right = min(accuracy + off, 0.99)
        table = (1 - right) * mistakes + right * np.eye(n_classes)  # (K, K): answers to each class
        numbers = np.where(of_rows() < in_common, luck, of_rows())
        guesses = np.array([table[target, (np.arange(n_classes) + target) % n_classes] for target in range(n_classes)])
        # the right class comes first, so that what is luck for one head is luck for another
        steps = (numbers[:, None] > guesses.cumsum(axis=1)[targets]).sum(axis=1)
        answers[name] = (np.minimum(steps, n_classes - 1) + targets) % n_classes
        f1 = 2 * shares * right / (shares + shares @ table)
        truth[name] = np.array([right, f1.mean()])
    return Drawn(targets, groups, answers, truth, n_classes)


def judge_drawn(
    drawn: Drawn, *, n_resamples: int, generator: np.random.Generator
) -> tuple[list[Verdict], list[Verdict]]:
    """Return the verdicts, and what they were with percentile intervals that hold for each difference by itself."""
    resampled = resampled_scores(
        drawn.targets, drawn.answers, drawn.groups,
        n_classes=drawn.n_classes, n_resamples=n_resamples, generator=generator,
    )  # fmt: skip
    head_scores = {name: scores(drawn.targets, answers, drawn.n_classes) for name, answers in drawn.answers.items()}
    values = {name: np.array([scored["accuracy"], scored["macro_f1"]]) for name, scored in head_scores.items()}
    fusions = [name for name in values if name != SINGLE]
    verdicts = judge(
        fusions, SINGLE, others=[], groups=drawn.groups, scores=values, resampled=resampled, targets=drawn.targets
    )
    alone = []
    for verdict in verdicts:
        value = values[verdict.fusion] - values[SINGLE]
        ends = zip(value, *interval(value, resampled[verdict.fusion] - resampled[SINGLE]), strict=True)
        accuracy, macro_f1 = (Difference(*map(float, ends_of_score)) for ends_of_score in ends)
        alone.append(replace(verdict, accuracy=accuracy, macro_f1=macro_f1))
    return verdicts, alone


def interval(value: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """Return a percentile interval, widened by the resamples' bias: (2, S), low and high."""
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    bias = value - resampled.mean(axis=0)
    return np.stack([low + np.minimum(bias, 0), high + np.maximum(bias, 0)])


def holds(verdict: Verdict, drawn: Drawn) -> bool:
    """Return whether both intervals hold the true difference."""
    true = drawn.truth[verdict.fusion] - drawn.truth[SINGLE]
    ends = (verdict.accuracy, verdict.macro_f1)
    return all(difference.low <= value <= difference.high for difference, value in zip(ends, true, strict=True))


def measure(
    *, n_problems: int, n_fusions: int, grouped: bool, differ: bool, n_resamples: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Return the shares of problems with a better fusion and with all intervals right, and both each by itself."""
    outcomes = []
    for child in np.random.SeedSequence(seed).spawn(n_problems):
        generator = np.random.default_rng(child)
        drawn = draw(generator, n_fusions=n_fusions, grouped=grouped, differ=differ)
        verdicts, alone = judge_drawn(drawn, n_resamples=n_resamples, generator=generator)
        row = []
        for judged in (verdicts, alone):
            row.append(any(verdict.outcome == "better" for verdict in judged))
            row.append(all(holds(verdict, drawn) for verdict in judged))
        outcomes.append(row)
    names = ("better", "covered", "better alone", "covered alone")
    return dict(zip(names, np.mean(outcomes, axis=0).tolist(), strict=True))


def settings() -> Iterator[tuple[bool, bool, int]]:
    """Yield whether fusions differ, whether there are groups, and how many fusions there are."""
    for differ in (False, True):
        for grouped in (False, True):
            for n_fusions in (1, 5, 9):
                yield differ, grouped, n_fusions


@click.command()
@click.option("--problems", "n_problems", default=500, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures here.")
def command(n_problems: int, seed: int, json_path: Path | None) -> None:
    """Print the table, a line as it is measured."""
    click.echo(f"{'problems':10}{'groups':>8}{'fusions':>9}{'better':>9}{'alone':>7}{'covered':>9}{'alone':>7}")
    table = []
    for differ, grouped, n_fusions in settings():
        shares = measure(n_problems=n_problems, n_fusions=n_fusions, grouped=grouped, differ=differ, seed=seed)
        table.append({"differ": differ, "grouped": grouped, "fusions": n_fusions, **shares})
        better, alone, *covered = (
            f"{100 * shares[name]:.1f}" for name in ("better", "better alone", "covered", "covered alone")
        )
        shown = ["", ""] if differ else [better, alone]  # where they differ, better may be right
        cells = zip([*shown, *covered], (9, 7, 9, 7), strict=True)
        kind = f"{'different' if differ else 'equal':10}{'yes' if grouped else 'no':>8}{n_fusions:>9}"
        click.echo(kind + "".join(f"{cell:>{width}}" for cell, width in cells))
    if json_path is not None:
        json_path.write_text(json.dumps(table, indent=1), encoding="utf-8")


if __name__ == "__main__":
    command()
