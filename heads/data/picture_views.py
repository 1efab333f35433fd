"""Augmented views of pictures in the cache: vectors of their own beside those of the picture as it is."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from cache import Cache, EncoderSpec
from heads.errors import HeadError

__all__ = ["IMAGE", "is_view", "load_views", "view_names"]

IMAGE = "image"
VIEW = "view"  # among a spec's fields


def is_view(spec: EncoderSpec) -> bool:
    """Return whether vectors are of an augmented view."""
    return VIEW in spec.fields


def view_names(cache: Cache, encoder: str) -> list[str]:
    """Return the names of an image encoder's views, in the order of their numbers.

    Raises:
        HeadError: it has none, or they are another encoder's.
    """
    pattern = re.compile(rf"{re.escape(encoder)}\.view(\d+)")
    numbered = {int(match[1]): name for name in cache.encoders(IMAGE) if (match := pattern.fullmatch(name))}
    names = [numbered[number] for number in sorted(numbered)]
    if not names:
        raise HeadError(
            f"--views: expected views of {IMAGE}/{encoder} in {cache.path}, got none. Run embed-extract --views 4 "
            "with the catalogue and the encoder of this cache."
        )
    plain = _without(cache.spec(IMAGE, encoder), "tokens")
    for name in names:
        spec = cache.spec(IMAGE, name)
        if not is_view(spec) or (differences := _without(spec, VIEW).differences(plain)):
            raise HeadError(
                f"--views: expected {IMAGE}/{name} to be a view of {IMAGE}/{encoder}, got "
                f"{'; '.join(differences) if is_view(spec) else 'another encoder of this name'}. Extract both under a "
                "new name, with embed-extract --image-name."
            )
    return names


def load_views(cache: Cache, encoder: str, present: torch.Tensor, *, memory: str | None) -> Sequence[torch.Tensor]:
    """Return the vectors of each view of an encoder's pictures, (N, D) each, zeros where there is no picture.

    Shape:
        present: (N,) bool, the products whose picture has a vector

    Raises:
        HeadError: there are no views, or a picture lacks one.
        CacheError: they take more than `memory`.
    """
    views = []
    for name in view_names(cache, encoder):
        n_lacking = int((present & ~torch.from_numpy(cache.present(IMAGE, name))).sum())
        if n_lacking:
            raise HeadError(
                f"--views: expected every picture to have {IMAGE}/{name}, but {n_lacking} lack it. Run embed-extract "
                "with the same --views again."
            )
        matrix = torch.from_numpy(cache.matrix(IMAGE, name, memory=memory))
        matrix[~present] = 0
        views.append(matrix)
    return views


def _without(spec: EncoderSpec, field: str) -> EncoderSpec:
    return EncoderSpec(spec.modality, {name: value for name, value in spec.fields.items() if name != field})
