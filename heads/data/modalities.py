"""Which modalities heads are trained on."""

from __future__ import annotations

from collections.abc import Sequence

from cache import Cache
from heads.data.metadata.fitted_metadata import METADATA
from heads.errors import HeadError

__all__ = ["choose_modalities"]


def choose_modalities(
    cache: Cache, requested: Sequence[str] | None, *, has_metadata: bool = False
) -> tuple[list[str], list[str]]:
    """Return the modalities of the cache to train on, and notes on those that no product has a vector of.

    With `has_metadata` columns are a modality besides, which is not among them; it may be the only one.

    Raises:
        MissingEntryError: the cache lacks a modality.
        HeadError: there is no vector at all, or metadata is requested and no column is named.
    """
    available = cache.modalities
    if requested is not None:
        chosen = [name for name in requested if not (has_metadata and name == METADATA)]
        if METADATA in chosen and METADATA not in cache.content_modalities:
            raise HeadError(
                f"--modalities {METADATA} needs columns that it is made of, but none is named. Add "
                "--metadata-columns auto, or name some."
            )
        for modality in chosen:
            cache.encoders(modality)
        return chosen, []
    chosen = [name for name in available if any(cache.dimension(name, encoder) for encoder in cache.encoders(name))]
    if not chosen and not has_metadata:
        raise HeadError(f"Training needs vectors, but {cache.path} has none. Look at it with cache-info.")
    return chosen, [f"{name} is left out: no product has a vector of it." for name in available if name not in chosen]
