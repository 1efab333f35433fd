"""Which of the cache's encoders an experiment looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cache import Cache
from heads.data.encoder_sets import common_names, joined_name, plain_names, split_names
from heads.errors import HeadError

__all__ = ["Encoder", "choose_encoders"]

Encoder = tuple[str, str]  # (modality, the encoder's name, or those of several with plus signs between)


def choose_encoders(cache: Cache, modalities: Sequence[str], asked: Mapping[str, str] | Sequence[str]) -> list[Encoder]:
    """Return the encoders that are asked for: one a modality by its name, or several that are to be compared.

    Raises:
        MissingEntryError: there is no such encoder, or more than one to choose from.
        HeadError: what is asked for is none of the cache's, or a modality has none.
    """
    if isinstance(asked, Mapping):
        return _choose_one_each(cache, modalities, asked)
    return _choose_several(cache, modalities, asked)


def _choose_one_each(cache: Cache, modalities: Sequence[str], asked: Mapping[str, str]) -> list[Encoder]:
    for modality, name in asked.items():
        if modality not in modalities:
            raise HeadError(
                f"--encoder: expected one of the modalities {', '.join(modalities)}, got {modality}={name}."
            )
    chosen = split_names(cache, {modality: asked.get(modality) for modality in modalities})
    return [(modality, joined_name(names)) for modality, names in chosen.items()]


def _choose_several(cache: Cache, modalities: Sequence[str], asked: Sequence[str]) -> list[Encoder]:
    """Return the encoders that are asked for, by name or as ``modality=name``; of a modality of which none is, all.

    Those that have no vectors are left out then.
    """
    stored = {modality: cache.encoders(modality) for modality in modalities}
    wanted: dict[str, set[str]] = {modality: set() for modality in modalities}
    for text in asked:
        only, _, name = text.rpartition("=")
        fitting = [one for one, names in stored.items() if only in ("", one) and common_names(name, names)]
        if not fitting:
            shown = "; ".join(f"{modality}: {', '.join(names) or 'none'}" for modality, names in stored.items())
            raise HeadError(f"--encoders: expected some of the cache's ({shown}), got {text!r}.")
        for modality in fitting:
            wanted[modality].add(name)
    chosen = []
    for modality, names in stored.items():
        filled = [name for name in plain_names(cache, modality) if cache.dimension(modality, name)]
        of_modality = sorted(wanted[modality]) or filled or names
        if not of_modality:
            raise HeadError(f"Training needs vectors, but {cache.path} has none of {modality}.")
        chosen += [(modality, name) for name in of_modality]
    return chosen
