"""Names of classes as directions in the space of a modality's vectors, which a linear head may begin with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from heads.modules.parts.standardiser import Standardise

__all__ = ["name_directions"]


def name_directions(names: Tensor, modality: str, standardise: Standardise | None) -> Tensor:
    """Return the directions in which the vectors of the classes' names lie from their own mean, each of length 1.

    They are scaled as the modality's vectors are. What all names have in common, as short texts among longer ones, or
    as texts among pictures, tells no class from another.

    Shape:
        names, output: (K, D)
    """
    if standardise is not None:
        is_known = torch.ones(len(names), dtype=torch.bool)
        names = standardise.part([modality])({modality: names}, {modality: is_known})[modality]
    return F.normalize(names - names.mean(0), dim=1)
