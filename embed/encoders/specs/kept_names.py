"""The names under which a cache has vectors, kept where files of weights and folders are called otherwise by now."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cache import EncoderSpec

__all__ = ["keep_names"]

log = logging.getLogger("embed_once")


def keep_names(
    encoders: Sequence[Any], specs: Mapping[tuple[str, str], EncoderSpec], *, but_for: Collection[str] = ()
) -> None:
    """Give encoders, not loaded yet, the names under which the cache has vectors that were made in the same way.

    `specs` are the cache's: (modality, encoder's name) -> spec; in the fields `but_for` these may be others. An encoder
    whose own name the cache has keeps that; depths and views are called after the encoder that they belong to.
    """
    new_names = _new_names(encoders, specs, but_for)
    for encoder in encoders:
        whole_name = getattr(encoder, "whole_name", encoder.name)
        if new_name := new_names.get((encoder.spec.modality, whole_name)):
            encoder.name = new_name + encoder.name.removeprefix(whole_name)


def _new_names(
    encoders: Sequence[Any], specs: Mapping[tuple[str, str], EncoderSpec], but_for: Collection[str]
) -> dict[tuple[str, str], str]:
    """Return the names to give, {(modality, name that an encoder has): the cache's name}."""
    taken = {(encoder.spec.modality, encoder.name) for encoder in encoders}
    new_names: dict[tuple[str, str], str] = {}
    for encoder in encoders:
        modality, name = encoder.spec.modality, encoder.name
        if hasattr(encoder, "whole_name") or (modality, name) in specs or (modality, name) in new_names:
            continue
        same = (where for where, spec in specs.items() if where not in taken and _is_same(spec, encoder.spec, but_for))
        if (kept := min(same, default=None)) is not None:
            new_names[modality, name] = kept[1]
            taken.add(kept)
            log.info("%s/%s is made as the cache's %s was: its vectors go on under that name.", modality, name, kept[1])
    return new_names


def _is_same(spec: EncoderSpec, other_spec: EncoderSpec, but_for: Collection[str]) -> bool:
    return {line.partition(":")[0] for line in spec.differences(other_spec)} <= set(but_for)
