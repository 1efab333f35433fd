"""A saved head's golden rows: a few inputs with the answers that they must give when it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from heads.data.tokens import ProductTokens
from heads.errors import HeadError
from heads.modules.description import HeadDescription

__all__ = ["GOLDEN_TOLERANCE", "N_GOLDEN", "check_golden", "check_golden_answers", "golden_tokens"]

N_GOLDEN = 8
GOLDEN_TOLERANCE = 1e-4  # in log-probability, between machines


def check_golden(tensors: Mapping[str, Tensor]) -> None:
    """Check that there are a few golden rows, before they are answered.

    Raises:
        ValueError: there are none, or more than are ever saved.
    """
    rows = {len(tensor) for name, tensor in tensors.items() if name.startswith(("golden.input.", "golden.present."))}
    if rows != {len(tensors["golden.output"])} or not 1 <= max(rows) <= N_GOLDEN:
        raise ValueError(f"it has {', '.join(map(str, sorted(rows)))} golden rows, where 1 to {N_GOLDEN} are expected")


def golden_tokens(description: HeadDescription, tensors: Mapping[str, Tensor]) -> dict[str, ProductTokens]:
    """Return the golden rows' tokens, for each modality whose tokens the head looks at.

    Raises:
        HeadError, LookupError: they are none such, or are not there.
    """
    fields = ("values", "starts", "counts")
    golden = {
        name: ProductTokens(*(tensors[f"golden.tokens.{field}.{name}"] for field in fields))
        for name in description.token_dims
    }
    for states in golden.values():
        states.check()  # before anything is allocated on their word
    return golden


def check_golden_answers(answers: Tensor, expected: Tensor, *, path: Path) -> None:
    """Check that a loaded head answers its golden rows as it did when it was saved.

    Shape:
        answers, expected: (n, K) log-probabilities

    Raises:
        HeadError: it does not.
    """
    if answers.shape != expected.shape or not torch.allclose(answers, expected, rtol=0, atol=GOLDEN_TOLERANCE):
        raise HeadError(
            f"Expected the head {path} to answer its golden rows as it did when it was saved, but it answers "
            "otherwise: the file or this installation of PyTorch is damaged."
        )
