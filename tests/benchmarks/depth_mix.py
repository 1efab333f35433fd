"""Measure a learned mix of depths: `python tests/benchmarks/depth_mix.py CACHE --label COLUMN --depths text=A,B,C`.

A scalar mix (Peters and others, 2018) is the sum of the depths' vectors, each z-scored, times weights that are a
softmax of numbers learned together with a linear head on it, from equal ones on. Beside it stand the same head on each
depth and on all of them side by side. Each has the strength of regularisation, scikit-learn's C, of least log loss on
the validation rows. Labels are drawn as in `few_labels.py`, with its `--per-class`; copies are taken once.

Printed are means of macro-F1 over draws, less that of the last depth named with a 95 % interval (Student's t over the
draws, paired), and the weights of the mix.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from labelled_products import draw_split, load  # noqa: E402 - they are on the path by now
from paired_interval import interval  # noqa: E402

from heads.data.splitting.splits import Split  # noqa: E402
from heads.metrics.scores import log_loss, scores  # noqa: E402

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # scikit-learn's C
MOST_STEPS, LEAST_SLOPE = 200, 1e-5


def fit(depths: Tensor, targets: Tensor, n_classes: int, strength: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of M depths (M, n, D), which are one where there is one, and the layer's (K, D) and (K,)."""
    weights = torch.zeros(n_classes, depths.shape[2], requires_grad=True)
    biases = torch.zeros(n_classes, requires_grad=True)
    numbers = torch.zeros(len(depths), requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weights, biases, *([numbers] if len(depths) > 1 else [])],
        max_iter=MOST_STEPS,
        tolerance_grad=LEAST_SLOPE,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        mixed = torch.einsum("m,mnd->nd", numbers.softmax(0), depths)
        value = F.cross_entropy(F.linear(mixed, weights, biases), targets)
        value = value + weights.square().sum() / (2 * strength * len(targets))
        value.backward()
        return value

    optimiser.step(loss)
    return numbers.detach().softmax(0), weights.detach(), biases.detach()


def test_score_and_mix(depths: Tensor, targets: np.ndarray, split: Split) -> tuple[float, list[float]]:
    """Return macro-F1 on the test rows at the strength that the validation rows choose, and the depths' weights."""
    n_classes, best = int(targets.max()) + 1, (np.inf, 0.0, [0.0])
    for strength in STRENGTHS:
        mix, *layer = fit(depths[:, split.train], torch.from_numpy(targets[split.train]), n_classes, strength)
        mixed = torch.einsum("m,mnd->nd", mix, depths)
        probabilities = F.linear(mixed, *layer).softmax(1).numpy()
        loss = log_loss(probabilities[split.validation], targets[split.validation])
        test_scores = scores(targets[split.test], probabilities[split.test].argmax(1), n_classes)
        best = min(best, (loss, 100 * test_scores["macro_f1"], mix.tolist()))
    return best[1], best[2]


@click.command()
@click.argument("cache", type=click.Path(exists=True, path_type=Path))
@click.option("--label", default="label", show_default=True, help="The column to learn.")
@click.option("--depths", required=True, help="text=A,B,C: encoders of one size; the others are compared to the last.")
@click.option("--per-class", default="5,20,0", show_default=True, help="Labels of each class; 0: nearly all.")
@click.option("--draws", default=5, show_default=True)
def command(cache: Path, label: str, depths: str, per_class: str, draws: int) -> None:
    """Print a table a number of labels."""
    torch.set_num_threads(1)
    modality, _, several = depths.partition("=")
    names = several.split(",")
    loaded = [load(cache, label, {modality: name}) for name in names]
    every = loaded[-1][1]
    for n_labels in map(int, per_class.split(",")):
        scores_of: dict[str, list[float]] = {}
        mixes = []
        for seed in range(draws):
            targets, split = draw_split(every, n_labels, np.random.default_rng(seed))
            scaled = []
            for vectors, _ in loaded:
                matrix = vectors.inputs[modality]
                scaled.append((matrix - matrix[split.train].mean(0)) / matrix[split.train].std(0))
            together = torch.stack(scaled)  # (M, N, D)
            kinds = {name: depth[None] for name, depth in zip(names, scaled, strict=True)}
            kinds |= {"side by side": torch.cat(scaled, dim=1)[None], "mix": together}
            for kind, matrices in kinds.items():
                macro_f1, mix = test_score_and_mix(matrices, targets, split)
                scores_of.setdefault(kind, []).append(macro_f1)
            mixes.append(mix)
        click.echo(
            f"{label}, {n_labels} a class, {targets.max() + 1} classes, {len(split.test)} test rows, {draws} draws"
        )
        for kind, values in scores_of.items():
            wide, gain = interval(np.array(values) - np.array(scores_of[names[-1]]))
            click.echo(f"  {kind:24}{np.mean(values):6.1f}{gain:+8.1f} [{gain - wide:+.1f}, {gain + wide:+.1f}]")
        click.echo(f"  weights of the mix: {', '.join(f'{weight:.2f}' for weight in np.mean(mixes, axis=0))}")


if __name__ == "__main__":
    command()
