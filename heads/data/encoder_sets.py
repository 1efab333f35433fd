"""Several encoders of one modality taken as one, such as ``resnet18+dinov2``: their vectors one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cache import Cache, EncoderSpec
from cache.arrays.status_column import StatusColumn
from heads.data.picture_views import is_view
from heads.errors import HeadError

__all__ = [
    "NOT_ENCODED",
    "absence_reasons",
    "common_names",
    "dimension",
    "joined_name",
    "joined_spec",
    "one_encoder",
    "parts_of",
    "plain_names",
    "present",
    "split_name",
    "split_names",
]

PLUS = "+"
NOT_ENCODED = "not encoded"  # of a product whose content is sound
PARTS = "concatenated"  # among the fields of a spec, and among its side notes


def joined_name(names: Iterable[str]) -> str:
    """Return the one name of several encoders."""
    return PLUS.join(names)


def split_name(cache: Cache, modality: str, name: str | None) -> tuple[str, ...]:
    """Return the cache's encoders that a name stands for: one, or several with plus signs between; None: the only one.

    Views of pictures are not counted there. An encoder may have a plus sign in a name of its own.

    Raises:
        MissingEntryError: there is no such encoder, or more than one to choose from.
        HeadError: one stands in it twice.
    """
    names = common_names(name, cache.encoders(modality)) if name else ()
    if not names:
        names = tuple(one_encoder(cache, modality, part) for part in (name.split(PLUS) if name else [None]))
    if len(set(names)) < len(names):
        raise HeadError(f"Expected {modality}={name} to name each encoder once. Leave the second out.")
    return names


def one_encoder(cache: Cache, modality: str, name: str | None) -> str:
    """Return `name` if there is such an encoder, or the only one that is no view of pictures where `name` is None.

    Raises:
        MissingEntryError: there is no such encoder, or more than one to choose from.
    """
    plain = plain_names(cache, modality)
    return cache.encoder(modality, plain[0] if name is None and len(plain) == 1 else name)


def plain_names(cache: Cache, modality: str) -> list[str]:
    """Return a modality's encoders but for views of pictures, which nobody means who names none."""
    return [name for name in cache.encoders(modality) if not is_view(cache.spec(modality, name))]


def split_names(cache: Cache, encoders: Mapping[str, str | None]) -> dict[str, tuple[str, ...]]:
    """Return the cache's encoders that a name stands for, of each modality, sorted.

    Raises:
        MissingEntryError, HeadError: as of `split_name`.
    """
    return {modality: split_name(cache, modality, name) for modality, name in sorted(encoders.items())}


def common_names(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the names that make up one with plus signs between; none where they do not.

    >>> common_names("a+b+c", ["a", "b+c"]), common_names("a+d", ["a", "b"])
    (('a', 'b+c'), ())
    """
    if name in names:
        return (name,)
    for first_part in names:
        prefix = f"{first_part}{PLUS}"
        other_parts = common_names(name.removeprefix(prefix), names) if name.startswith(prefix) else ()
        if other_parts:
            return (first_part, *other_parts)
    return ()


def joined_spec(specs: Mapping[str, EncoderSpec]) -> EncoderSpec:
    """Return the one spec of several encoders' vectors, one after the other: a change of any of them changes it.

    >>> specs = {name: EncoderSpec("text", {"weights": name}) for name in ("a", "b")}
    >>> joined_spec(specs).fields, list(parts_of(joined_spec(specs)))
    ({'concatenated': [{'weights': 'a'}, {'weights': 'b'}]}, ['a', 'b'])
    """
    first_spec, *other_specs = specs.values()
    if not other_specs:
        return first_spec
    notes = [{"name": name, **spec.side_notes} for name, spec in specs.items()]
    fields = [dict(spec.fields) for spec in specs.values()]
    return EncoderSpec(first_spec.modality, {PARTS: fields}, side_notes={PARTS: notes})


def parts_of(spec: EncoderSpec, name: str = "") -> dict[str, EncoderSpec]:
    """Return the specs of the encoders that make a vector, by their names: one, called `name`, or several.

    Raises:
        HeadError: it names no such specs.
    """
    if PARTS not in spec.fields:
        return {name: spec}
    fields, notes = _objects(spec.fields[PARTS]), _objects(spec.side_notes.get(PARTS))
    if len(fields) != len(notes) or len(fields) < 2:
        raise HeadError(f"Expected the spec of {spec.modality} to name its encoders, but it does not. Train again.")
    parts = {
        str(part_notes.pop("name", number)): EncoderSpec(spec.modality, part_fields, side_notes=part_notes)
        for number, (part_fields, part_notes) in enumerate(zip(fields, map(dict, notes), strict=True))
    }
    if len(parts) < len(fields):
        raise HeadError(f"Expected the encoders of {spec.modality} to have a name each. Train again.")
    return parts


def dimension(cache: Cache, modality: str, names: Iterable[str]) -> int:
    """Return D of several encoders' vectors one after the other."""
    return sum(cache.dimension(modality, name) for name in names)


def present(cache: Cache, modality: str, names: Iterable[str]) -> np.ndarray:
    """Return which products have a vector of every encoder, (N,) bool: who lacks one's lacks the whole."""
    return np.logical_and.reduce([cache.present(modality, name) for name in names])


def absence_reasons(
    cache: Cache, modality: str, present: np.ndarray, *, statuses: Sequence[str] | None = None
) -> dict[str, int]:
    """Return why products have no vector, {reason: how many of them}: `NOT_ENCODED`, or their content's status.

    `statuses` are the modality's in the cache, of N products, where they were read before.

    Shape:
        present: (N,) bool, which products have one
    """
    if present.all():
        return {}
    column = cache.status_column(modality) if statuses is None else StatusColumn.of(statuses)
    counts = np.bincount(column.numbers[~present], minlength=len(column.words)).tolist()
    reasons: Counter[str] = Counter()
    for status, count in zip(column.words, counts, strict=True):
        reasons[NOT_ENCODED if status in ("ok", "not_encoded") else status] += count
    return dict(+reasons)


def _objects(values: object) -> list[dict[str, Any]]:
    """Return JSON's objects in a list; none where something else is given."""
    return values if isinstance(values, list) and all(isinstance(value, dict) for value in values) else []
