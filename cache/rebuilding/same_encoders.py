"""Encoders of several caches that are the same under different names, which one cache needs under one name alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cache.rebuilding.source import Source

__all__ = ["keep_one_name_each"]

log = logging.getLogger("embed_once")


def keep_one_name_each(sources: Sequence[Source]) -> None:
    """Have vectors of one spec go by one name in all sources: the first in alphabetical order, whatever theirs is.

    Those of different dimensions keep their names: such a spec does not say what made them.
    """
    names_of: dict[tuple[str, str], set[str]] = {}
    dims_of: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for source in sources:
        for (modality, encoder), spec in source.specs().items():
            names_of.setdefault((modality, spec.fingerprint), set()).add(encoder)
            dims_of.setdefault((modality, spec.fingerprint), set()).update(source.dims(modality, encoder))
    kept_names: dict[tuple[str, str], str] = {}
    for (modality, fingerprint), names in names_of.items():
        kept, *others = sorted(names, key=lambda name: name.split("."))  # views and depths as what they belong to
        if len(dims_of[modality, fingerprint]) > 1:
            continue
        for other in others:
            kept_names[modality, other] = kept
            log.warning("%s/%s is made as %s is: its vectors go by that name.", modality, other, kept)
    ambiguous = {where for where in kept_names if _has_several_specs(sources, where)}
    for source in sources:
        source.kept_names = {where: kept for where, kept in kept_names.items() if where not in ambiguous}


def _has_several_specs(sources: Sequence[Source], where: tuple[str, str]) -> bool:
    """Return whether sources have a name for different encoders, which is an error that names them."""
    return len({source.specs()[where].fingerprint for source in sources if where in source.specs()}) > 1
