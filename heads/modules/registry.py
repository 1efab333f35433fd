"""Every head by its name, built from its description."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module

from torch import nn

from heads.head_types import head_type
from heads.modules.description import HeadDescription
from heads.modules.guard import GUARD, Guarded
from heads.modules.parts.learned_absence import LearnedAbsent
from heads.modules.plugin import load_plugin

__all__ = ["build"]


def build(description: HeadDescription, *, stack: tuple[int, ...] = ()) -> nn.Module:
    """Return the untrained head, or J of them in one with ``stack=(J,)``, which a user's own class knows nothing of.

    Modules take ``(inputs, present)`` and return logits or log-probabilities.

    Raises:
        HeadError: attention is asked for over one modality, a dropout is no rate, or the user's own class is no head.
    """

    def members(names: Iterable[str]) -> dict[str, nn.Module]:
        return {name: build(description.member(name), stack=stack) for name in sorted(names)}

    if description.name.endswith(GUARD):
        fusion = replace(description, name=description.name.removesuffix(GUARD))
        return Guarded(build(fusion, stack=stack), members(description.dims))
    if description.plugin is not None:
        return load_plugin(description.plugin)(description.dims, n_classes=description.n_classes)
    kind = head_type(description.name)
    code = import_module(kind.module)
    if kind.is_average:
        names = description.weights if kind.averages_fusions else description.dims
        return code.build(description, members=members(names))
    built = code.build(description, stack=stack)
    return LearnedAbsent(built, description.dims, stack=stack) if description.absent == "learned" else built
