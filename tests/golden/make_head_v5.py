"""Make ``head_v5/``, a head as version 5 leaves it: ``python tests/golden/make_head_v5.py``.

It was run once, by the code that wrote version 5, and its files are never made again: run folders outlive an update.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from cache import EncoderSpec  # noqa: E402 - the checkout's own
from heads.data.vectors import Vectors  # noqa: E402
from heads.modules.description import HeadDescription  # noqa: E402
from heads.modules.parts.standardiser import Standardise  # noqa: E402
from heads.modules.registry import build  # noqa: E402
from heads.modules.saving.saved_head import TrainedHead  # noqa: E402

DIMS = {"image": 3, "text": 2}
SIZES = {"hidden_dim": 4, "dropout": 0.5, "n_tokens": 2, "n_attention_heads": 4}


def main(folder: Path) -> None:
    """Write the head into `folder`, where none may be."""
    if folder.exists():
        sys.exit(f"{folder} is there already, and stays as it is.")
    torch.manual_seed(0)
    inputs = {name: 3 + torch.randn(8, dim) for name, dim in DIMS.items()}
    present = {name: torch.arange(8) % 4 != place for place, name in enumerate(DIMS)}
    inputs = {name: matrix * present[name][:, None] for name, matrix in inputs.items()}
    specs = {name: EncoderSpec(name, {"weights": "drawn"}) for name in DIMS}
    vectors = Vectors(encoders=dict.fromkeys(DIMS, "drawn"), specs=specs, inputs=inputs, present=present)
    description = HeadDescription(name="early", dims=DIMS, n_classes=2, scaling="pca", **SIZES)
    head = TrainedHead(
        description=description,
        module=build(description).eval(),
        standardise=Standardise(DIMS, scaling="pca").fit(inputs, present, torch.arange(8)),
        label="kind",
        classes=["bag", "shoe"],
        encoders=dict.fromkeys(DIMS, "drawn"),
        specs=specs,
    )
    folder.mkdir()
    head.save(folder, golden=vectors, golden_rows=np.arange(8))


if __name__ == "__main__":
    main(HERE / "head_v5")
