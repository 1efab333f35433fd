"""Which of the cache's encoders an experiment looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cache import Cache
from heads.data.encoder_sets import common_names, joined_name, plain_names, split_names
from heads.errors import HeadError

__all__ = ["Encoder", "choose_encoders"]

Encoder = tuple[str, str]  # (modality, the encoder's name, or those of several with plus signs between)


def choose_encoders(
    cache: Cache, modalities: Sequence[str], requested: Mapping[str, str] | Sequence[str]
) -> list[Encoder]:
    """Return the requested encoders: one a modality by its name, or several that are to be compared.

    Raises:
        MissingEntryError: there is no such encoder, or more than one to choose from.
        HeadError: a requested encoder is not in the cache, or a modality has none.
    """
    if isinstance(requested, Mapping):
        return _choose_one_each(cache, modalities, requested)
    return _choose_several(cache, modalities, requested)


def _choose_one_each(cache: Cache, modalities: Sequence[str], requested: Mapping[str, str]) -> list[Encoder]:
    for modality, name in requested.items():
        if modality not in modalities:
            raise HeadError(
                f"--encoder: expected one of the modalities {', '.join(modalities)}, got {modality}={name}."
            )
    chosen = split_names(cache, {modality: requested.get(modality) for modality in modalities})
    return [(modality, joined_name(names)) for modality, names in chosen.items()]


def _choose_several(cache: Cache, modalities: Sequence[str], requested: Sequence[str]) -> list[Encoder]:
    """Return the requested encoders, by name or as ``modality=name``; of a modality without any, all with vectors."""
    stored = {modality: cache.encoders(modality) for modality in modalities}
    names_by_modality: dict[str, set[str]] = {modality: set() for modality in modalities}
    for text in requested:
        only, _, name = text.rpartition("=")
        modalities_of_text = [
            modality for modality, names in stored.items() if only in ("", modality) and common_names(name, names)
        ]
        if not modalities_of_text:
            shown = "; ".join(f"{modality}: {', '.join(names) or 'none'}" for modality, names in stored.items())
            raise HeadError(f"--encoders: expected some of the cache's ({shown}), got {text!r}.")
        for modality in modalities_of_text:
            names_by_modality[modality].add(name)
    chosen = []
    for modality, names in stored.items():
        filled = [name for name in plain_names(cache, modality) if cache.dimension(modality, name)]
        of_modality = sorted(names_by_modality[modality]) or filled or names
        if not of_modality:
            raise HeadError(f"Training needs vectors, but {cache.path} has none of {modality}.")
        chosen += [(modality, name) for name in of_modality]
    return chosen
