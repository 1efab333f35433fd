"""Problems whose vectors are drawn, so that it is known what fusion can gain.

`complementary`: each modality tells half of the label; `redundant`: both tell all of it; `noise`: the picture tells
nothing; `label-noise`: as complementary, and a fifth of the labels to learn from are drawn anew; `xor`: neither tells
anything alone.
"""

from __future__ import annotations

import numpy as np
import torch

from cache import EncoderSpec
from heads.data.vectors import Vectors

__all__ = ["DRAWN", "draw_vectors", "mislabel"]

DRAWN = ("complementary", "redundant", "noise", "label-noise", "xor")
DRAWN_DIM, N_DRAWN, N_PARTS = 64, 4000, 4
SIGNAL = 0.3  # deviation of the centres; that of the vectors around them is 1
WRONG = 0.2  # of the labels


def draw_vectors(kind: str, generator: np.random.Generator) -> tuple[Vectors, np.ndarray]:
    """Return vectors and classes of which it is known what they tell."""
    n_parts = 2 if kind == "xor" else N_PARTS
    shown = {name: generator.integers(n_parts, size=N_DRAWN) for name in ("image", "text")}
    targets = shown["image"] * n_parts + shown["text"]
    if kind == "xor":
        targets = shown["image"] ^ shown["text"]
    if kind in ("redundant", "noise"):
        targets = shown["text"]
        shown["image"] = targets
    inputs = {}
    for name, parts in shown.items():
        signal = 0.0 if (kind, name) == ("noise", "image") else SIGNAL
        centres = generator.standard_normal((n_parts, DRAWN_DIM)) * signal
        matrix = centres[parts] + generator.standard_normal((N_DRAWN, DRAWN_DIM))
        inputs[name] = torch.from_numpy(matrix.astype(np.float32))
    present = {name: torch.ones(N_DRAWN, dtype=torch.bool) for name in inputs}
    specs = {name: EncoderSpec(name, {"weights": kind}) for name in inputs}
    return Vectors(encoders=dict.fromkeys(inputs, kind), specs=specs, inputs=inputs, present=present), targets


def mislabel(targets: np.ndarray, learned: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the classes with a fifth of those to learn from drawn anew, which now and then gives the right one."""
    targets = targets.copy()
    wrong = generator.random(len(learned)) < WRONG
    targets[learned[wrong]] = generator.integers(targets.max() + 1, size=wrong.sum())
    return targets
