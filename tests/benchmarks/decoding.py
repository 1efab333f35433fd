"""CPU seconds that two image encoders take to read, decode and prepare the same pictures: each alone, and together.

Each way in turns, so that whatever else the machine does meets both; no network is called.

    python tests/benchmarks/decoding.py ../shared/data/fashion/images --pictures 300 --turns 5
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from embed import ImageEncoder


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--pictures", "n_pictures", default=300, show_default=True)
@click.option("--turns", "n_turns", default=5, show_default=True)
def main(folder: Path, n_pictures: int, n_turns: int) -> None:
    """Print the mean of each way over the turns, and the least and greatest."""
    paths = list(itertools.islice(sorted(folder.glob("*.jpg")), n_pictures))
    encoders = [ImageEncoder(name, weights="random") for name in ("resnet18", "convnext_tiny")]

    def alone() -> list[torch.Tensor]:
        return [encoder.prepare(path.read_bytes()) for encoder in encoders for path in paths]

    def together() -> list[torch.Tensor]:
        made = []
        for path in paths:
            picture = encoders[0].decode(path.read_bytes())
            made.append([encoder.prepare_decoded(picture) for encoder in encoders])
        return [prepared for encoder in zip(*made, strict=True) for prepared in encoder]

    seconds: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(n_turns):
        results = [_timed(seconds, name, way) for name, way in (("alone", alone), ("together", together))]
        assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    print(
        f"{len(paths)} pictures, {' and '.join(encoder.name for encoder in encoders)}, CPU seconds of {n_turns} turns"
    )
    for name, values in seconds.items():
        print(f"{name:10} {np.mean(values):6.2f}  ({min(values):.2f} to {max(values):.2f})")
    print(f"saved      {100 * (1 - np.mean(seconds['together']) / np.mean(seconds['alone'])):6.1f} %")


def _timed(seconds: dict[str, list[float]], name: str, way: Callable[[], list[torch.Tensor]]) -> list[torch.Tensor]:
    start = time.process_time()
    result = way()
    seconds[name].append(time.process_time() - start)
    return result


if __name__ == "__main__":
    main()
