"""Parsing the texts of options: lists of names, and words such as ``all`` that stand for several."""

from __future__ import annotations

import csv
from collections.abc import Iterable

from heads.errors import SettingError
from heads.head_types import AUTO_FUSION, HEAD_TYPES, SYNONYMS, control_names, fusion_names
from heads.settings import AUTO, SIZES

__all__ = ["parse_adjustment", "parse_columns", "parse_controls", "parse_encoders", "parse_fusions", "parse_sizes"]


def parse_columns(text: str | None) -> tuple[str, ...] | None:
    """Return the columns in a list such as ``gender,year``, None where there is no text.

    A name that holds a comma stands in double quotes.

    >>> parse_columns('year, "size, in cm"')
    ('year', 'size, in cm')

    Raises:
        SettingError: the list is empty.
    """
    if text is None:
        return None
    try:
        names = [name.strip() for line in csv.reader([text], skipinitialspace=True) for name in line if name.strip()]
    except csv.Error as error:
        raise SettingError(f"Expected a list of names to be one line, got {text!r}: {error}.") from error
    if not names:
        raise SettingError(f"Expected a list of names to have one or more, got {text!r}.")
    return tuple(names)


def parse_controls(text: str) -> tuple[str, ...]:
    """Return the controls in a list such as ``majority,logistic``; ``all`` stands for every one, ``none`` for none.

    Raises:
        SettingError: a name is none of a control's.
    """
    control_heads = control_names()
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if names == ["none"]:
        return ()
    if not names or any(name not in (*control_heads, "all") for name in names):
        raise SettingError(f"--controls: expected some of {', '.join(control_heads)}, all or none, got {text!r}.")
    return tuple(name for name in control_heads if name in names or "all" in names)


def parse_encoders(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Return the modality and the encoder in each text such as ``image=resnet18``.

    >>> parse_encoders(["image=resnet18", " text = bert "])
    [('image', 'resnet18'), ('text', 'bert')]

    Raises:
        SettingError: a text is none such.
    """
    pairs = []
    for text in texts:
        modality, _, encoder = (part.strip() for part in text.partition("="))
        if not modality or not encoder:
            raise SettingError(f"--encoder: expected MODALITY=NAME such as image=resnet18, got {text!r}.")
        pairs.append((modality, encoder))
    return pairs


def parse_fusions(text: str, modalities: tuple[str, ...] = ("image", "metadata", "text")) -> tuple[str, ...]:
    """Return the fusions in a list such as ``early,late``; ``all`` stands for every one.

    A single modality may be named too: it is trained in any case.

    >>> parse_fusions("concat,late")
    ('early', 'late')

    Raises:
        SettingError: a name is none of a fusion's.
    """
    names = [SYNONYMS.get(name, name) for name in (part.strip() for part in text.split(",")) if name]
    all_fusions = fusion_names()
    other_heads = tuple(name for name in HEAD_TYPES if name not in all_fusions)
    accepted = (*modalities, *all_fusions, *other_heads, AUTO_FUSION, "all")
    unknown = [name for name in names if name not in accepted and ":" not in name]
    if unknown or not names:
        raise SettingError(
            f"--fusion: expected some of {', '.join((*modalities, *all_fusions, *other_heads))}, {AUTO_FUSION}, all, "
            f"or a head of your own as file.py:Class, got {text!r}."
        )
    singles = tuple(name for name in modalities if name in names)
    fusions = tuple(name for name in all_fusions if name in names or "all" in names)
    named = tuple(dict.fromkeys(name for name in names if ":" in name or name in (*other_heads, AUTO_FUSION)))
    return singles + fusions + named


def parse_adjustment(text: str) -> float | str:
    """Return the logit adjustment that a text says: ``auto``, or a number.

    Raises:
        SettingError: it says neither.
    """
    try:
        return text if text == AUTO else float(text)
    except ValueError as error:
        raise SettingError(f"--logit-adjustment: expected auto, or a number, got {text!r}.") from error


def parse_sizes(text: str | None) -> tuple[str, ...]:
    """Return the sizes in a list such as ``small,large``; ``all`` stands for every one.

    >>> parse_sizes("all")
    ('small', 'large', 'regularised')

    Raises:
        SettingError: a name is none of a size's.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or any(name not in (*SIZES, "all") for name in names):
        raise SettingError(f"--size: expected some of {', '.join(SIZES)}, or all, got {text!r}.")
    return tuple(SIZES) if "all" in names else tuple(dict.fromkeys(names))
