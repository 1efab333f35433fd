"""Whether a cache has what a head was trained on: vectors of the same encoder, of contents made in the same way."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from cache import Cache, ContentSpec, EncoderSpec
from heads.data.encoder_sets import NOT_ENCODED, absence_reasons, joined_name, parts_of
from heads.errors import HeadError

__all__ = ["check_contents", "find_encoder", "tell_not_encoded", "without_content"]

log = logging.getLogger("embed_once")

MOST_SHOWN = 4  # differences of two specs


def find_encoder(cache: Cache, spec: EncoderSpec, *, name: str, head: str, needs_tokens: bool) -> str:
    """Return the encoder of a cache that has a spec; `name` is what it was called where the head was trained.

    Where the spec is that of several joined encoders, each is found, and their joined name is returned.

    Raises:
        HeadError: there is none, or it has no tokens though they are needed; the message says what differs.
        MissingEntryError: the cache lacks the modality.
    """
    return joined_name(
        _find(cache, part, name=part_name, head=head, needs_tokens=needs_tokens)
        for part_name, part in parts_of(spec, name).items()
    )


def _find(cache: Cache, spec: EncoderSpec, *, name: str, head: str, needs_tokens: bool) -> str:
    modality = spec.modality
    specs = {encoder: cache.spec(modality, encoder) for encoder in cache.encoders(modality)}
    fitting = [encoder for encoder, encoder_spec in specs.items() if encoder_spec.fingerprint == spec.fingerprint]
    if not fitting:
        shown = "; ".join(
            f"{encoder} differs in {', '.join(encoder_spec.differences(spec)[:MOST_SHOWN])}"
            for encoder, encoder_spec in specs.items()
        )
        precision = spec.fields.get("precision")
        advice = f", --precision {precision} among them" if "precision: " in shown else ""
        raise HeadError(
            f"Expected {cache.path} to have {modality} vectors made as {name} was, which the head {head!r} learned "
            f"from, but {shown or 'there are none'}. Extract with the same encoder and settings{advice}."
        )
    if needs_tokens and not cache.has_tokens(modality, fitting[0]):
        raise HeadError(
            f"Expected {cache.path} to have the tokens of {modality}/{name}, which the head {head!r} looks at, but it "
            f"has vectors alone of {fitting[0]}. Extract with the same encoder and --tokens."
        )
    return fitting[0]


def without_content(cache: Cache, modalities: Iterable[str]) -> set[str]:
    """Return the modalities that a cache's catalogue has, and none of its products has a content of; each is logged."""
    empty = {name for name in modalities if name in cache.modalities and "ok" not in cache.status_counts(name)}
    for modality in sorted(empty):
        log.warning("No product of %s has any %s: all are answered without.", cache.path, modality)
    return empty


def tell_not_encoded(
    cache: Cache, modality: str, encoder: str, present: np.ndarray, *, statuses: Sequence[str] | None = None
) -> None:
    """Warn of products that are answered without a modality only because its encoder has not seen them.

    `statuses` are the modality's in the cache, where they were read before.

    Shape:
        present: (N,) bool, which products have a vector
    """
    if n_products := absence_reasons(cache, modality, present, statuses=statuses).get(NOT_ENCODED):
        log.warning(
            "%d of %d products of %s have no vector of %s/%s, for that encoder has not seen their %s yet: they are "
            "answered without. embed-extract with the options of that encoder encodes them.",
            n_products, len(present), cache.path, modality, encoder, modality,
        )  # fmt: skip


def check_contents(cache: Cache, trained: ContentSpec, *, head: str, is_renamed: bool) -> None:
    """Check that a modality's contents are made in a cache as they were made where a head was trained.

    Where a cache of before format version 3 does not say how, nothing is known, and nothing is checked.

    Raises:
        HeadError: they are made otherwise; the message says how.
    """
    answered = cache.content_spec(trained.modality)
    if answered is None:
        return
    compared = answered.renamed(trained) if is_renamed else answered
    if compared.fingerprint == trained.fingerprint:
        return
    is_name = answered.renamed(trained).fingerprint == trained.fingerprint
    raise HeadError(
        f"Expected {trained.modality} made of {trained}, as where the head {head!r} was trained, but in {cache.path} "
        f"it is made of {answered}. Extract it in the same way"
        + (", or say --renamed if these are the same columns under other names." if is_name else ".")
    )
