"""The vectors of the classes' names, where the cache has them in the space of an encoder's vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cache import Cache, EncoderSpec
from cache.arrays.key_index import KeyIndex
from cache.columns.label_levels import label_at
from cache.columns.labels import clean_label
from cache.keys import text_key
from cache.sealed.vector_rows import VectorRows

__all__ = ["find_class_names"]

IMAGE, TEXT = "image", "text"
LIKELY = 0.5  # share of the names: where more have a vector, names were encoded on purpose, and a lack is worth a note
MOST_SHOWN = 3


def find_class_names(
    cache: Cache,
    encoders: Iterable[tuple[str, str]],
    classes: Sequence[str],
    *,
    column: str,
    level: int | None = None,
) -> tuple[dict[tuple[str, str], Tensor], list[str]]:
    """Return the vectors of all classes' names by the encoders that have such, (K, D) float32, and notes.

    Of a text encoder they are those of the names as texts (`embed-extract --class-names`), of an image encoder those
    of the same network's tower for texts. Where one is missing there are none. With a `level` of paths in the column's
    cells, classes are parts of the cells; names of whole cells do not fit them.
    """
    if TEXT not in cache.content_modalities:
        return {}, []
    specs = {name: cache.spec(TEXT, name) for name in cache.encoders(TEXT)}
    candidates = ((encoder, _text_encoder_of(cache, *encoder, specs)) for encoder in encoders)
    text_encoders = {encoder: text_encoder for encoder, text_encoder in candidates if text_encoder is not None}
    keys = cache.keys(TEXT) if text_encoders else np.empty(0)
    if not len(keys):
        return {}, []
    rows = _rows_of(classes, keys)
    vectors, lacking = {}, np.zeros(len(rows), dtype=bool)
    for encoder, text_encoder in text_encoders.items():
        has_vector = (rows >= 0) & cache.encoded(TEXT, text_encoder)[rows]
        if has_vector.all():
            vectors[encoder] = torch.from_numpy(VectorRows(cache, TEXT, text_encoder).take(rows))
        elif has_vector.mean() > LIKELY:
            lacking |= ~has_vector
    if level is not None and not vectors and column in cache.columns():
        cells = sorted({cell for cell in cache.column(column) if clean_label(cell) != label_at(cell, level)})
        if cells and (_rows_of(cells, keys) >= 0).mean() > LIKELY:
            return {}, [
                f"Names of classes are not used: those that the cache has are of whole cells of {column} ({cells[0]}), "
                f"and classes are their level {level}. Put that into a column of its own for embed-extract "
                "--class-names."
            ]
    return vectors, _notes(classes, lacking, column=column)


def _rows_of(names: Sequence[str], keys: np.ndarray) -> np.ndarray:
    """Return the row of each name among the texts, -1 where it is none of them."""
    index = KeyIndex([text_key(name) for name in names])
    text_rows = np.flatnonzero(index.has(keys))  # the texts that are one of the names
    row_by_key = dict(zip(keys[text_rows].tolist(), text_rows.tolist(), strict=True))
    return np.array([row_by_key.get(key, -1) for key in index.keys.tolist()])


def _text_encoder_of(cache: Cache, modality: str, name: str, specs: Mapping[str, EncoderSpec]) -> str | None:
    """Return the text encoder whose vectors are in the space of an encoder's; None where there is none."""
    if modality == TEXT:
        return name if name in specs else None
    if modality != IMAGE or name not in cache.encoders(IMAGE):
        return None
    spec = cache.spec(IMAGE, name)
    if spec.fields.get("vector") != "image features":
        return None
    network_fields = ("architecture", "config", "weights", "seed")
    network = [spec.fields.get(field) for field in network_fields]
    return next(
        (
            text_encoder
            for text_encoder, text_spec in specs.items()
            if text_spec.fields.get("pooling") == "text features"
            and [text_spec.fields.get(field) for field in network_fields] == network
        ),
        None,
    )


def _notes(classes: Sequence[str], lacking: np.ndarray, *, column: str) -> list[str]:
    names = [name for name, lacks in zip(classes, lacking.tolist(), strict=True) if lacks]
    if not names:
        return []
    shown = ", ".join(names[:MOST_SHOWN]) + (", …" if len(names) > MOST_SHOWN else "")
    return [
        f"Names of classes are not used: {len(names)} of {len(classes)} have no vector ({shown}). embed-extract "
        f"--class-names {column} makes those of the cells as they are written."
    ]
